//! How the binary is linked, so that little of it becomes memory.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=seldom.ld");
    if cargo("CARGO_CFG_TARGET_OS") != "linux" || cargo("CARGO_CFG_TARGET_ENV") != "gnu" {
        return;
    }
    let modern = glibc().is_some_and(|version| version >= (2, 36));
    // The table of addresses to adjust is read whole at the start: 400 KiB as it is usually written, 10 so. A program written
    // so does not start where glibc is older than 2.36, so it is for whoever builds where the program is to run, or newer.
    if modern {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    // A dozen functions of a library that takes 150 KiB by itself.
    println!("cargo:rustc-link-lib=static:-bundle=gcc_eh");
    if cargo("CARGO_CFG_TARGET_ARCH") != "x86_64" || !own_linker() {
        return;
    }
    // Functions that are the same, as those for types of one shape are, are there once. GNU's linker does not know how; Rust's
    // own, which is used for this architecture where it was installed with the compiler, does.
    println!("cargo:rustc-link-arg-bins=-Wl,--icf=safe");
    // Code that is seldom used lies apart. Other profiles have many more pieces to look through, and nobody counts their memory.
    if cargo("PROFILE") == "release" {
        println!("cargo:rustc-link-arg-bins=-T{}/seldom.ld", cargo("CARGO_MANIFEST_DIR"));
    }
    // The C library too is a few functions of many: with it and its loader beside the program, 1.5 MiB more are mapped. Nothing
    // here asks it for names of hosts or users, which is all that it cannot do without its other half.
    if modern && cargo("HOST") == cargo("TARGET") {
        let folder = PathBuf::from(cargo("OUT_DIR"));
        if archives(&folder).is_ok() {
            println!("cargo:rustc-link-arg-bins=-static-pie");
            println!("cargo:rustc-link-arg-bins=-L{}", folder.display());
        }
    }
}

/// What the compiler asks for by name when it links: libraries that have more than that name in them.
const LIBRARIES: [(&str, &str); 3] = [("libc.a", "libc.a"), ("libm.a", "libm.a"), ("libgcc_eh.a", "libgcc_s.a")];

/// Fills a folder with the archives of the libraries that are otherwise loaded when the program starts. The compiler says that it
/// wants those; a linker that looks into a folder with nothing but archives takes these.
fn archives(folder: &Path) -> io::Result<()> {
    found("rcrt1.o")?;
    for (archive, name) in LIBRARIES {
        let (archive, link) = (found(archive)?, folder.join(name));
        if link.symlink_metadata().is_ok() {
            std::fs::remove_file(&link)?;
        }
        std::os::unix::fs::symlink(archive, link)?;
    }
    Ok(())
}

/// Where the C compiler has one of its files.
fn found(file: &str) -> io::Result<PathBuf> {
    let told = Command::new("cc").arg(format!("-print-file-name={file}")).output()?;
    let path = PathBuf::from(String::from_utf8_lossy(&told.stdout).trim());
    // It gives the bare name back when there is none.
    if path.is_absolute() { path.canonicalize() } else { Err(io::ErrorKind::NotFound.into()) }
}

#[expect(clippy::disallowed_methods, reason = "this is how Cargo tells a build script what is built")]
fn cargo(variable: &str) -> String {
    std::env::var(variable).unwrap_or_default()
}

/// The version of the C library here, as its own tool tells it: `glibc 2.36`.
fn glibc() -> Option<(u32, u32)> {
    let told = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let told = String::from_utf8(told.stdout).ok()?;
    let (major, minor) = told.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}

/// Whether the compiler came with a linker of its own, as those of rustup do and those of distributions may not.
fn own_linker() -> bool {
    let Ok(told) = Command::new(cargo("RUSTC")).args(["--print", "target-libdir"]).output() else { return false };
    let libraries = PathBuf::from(String::from_utf8_lossy(&told.stdout).trim());
    libraries.with_file_name("bin").join("rust-lld").exists()
}
