//! How the binary is linked, so that little of it becomes memory.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if target("OS") != "linux" || target("ENV") != "gnu" {
        return;
    }
    // The table of addresses to adjust is read whole at the start: 400 KiB as it is usually written, 10 so. A program written
    // so does not start where glibc is older than 2.36, so it is for whoever builds where the program is to run, or newer.
    if glibc().is_some_and(|version| version >= (2, 36)) {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    // A dozen functions of a library that takes 150 KiB by itself.
    println!("cargo:rustc-link-lib=static:-bundle=gcc_eh");
    // Functions that are the same, as those for types of one shape are, are there once. GNU's linker does not know how; Rust's
    // own, which is used for this architecture where it was installed with the compiler, does.
    if target("ARCH") == "x86_64" && own_linker() {
        println!("cargo:rustc-link-arg-bins=-Wl,--icf=safe");
    }
}

#[expect(clippy::disallowed_methods, reason = "this is how Cargo tells a build script what is built")]
fn target(part: &str) -> String {
    std::env::var(format!("CARGO_CFG_TARGET_{part}")).unwrap_or_default()
}

/// The version of the C library here, as its own tool tells it: `glibc 2.36`.
fn glibc() -> Option<(u32, u32)> {
    let told = std::process::Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let told = String::from_utf8(told.stdout).ok()?;
    let (major, minor) = told.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}

/// Whether the compiler came with a linker of its own, as those of rustup do and those of distributions may not.
#[expect(clippy::disallowed_methods, reason = "this is how Cargo tells a build script who compiles")]
fn own_linker() -> bool {
    let Some(compiler) = std::env::var_os("RUSTC") else { return false };
    let Ok(told) = std::process::Command::new(compiler).args(["--print", "target-libdir"]).output() else {
        return false;
    };
    let libraries = PathBuf::from(String::from_utf8_lossy(&told.stdout).trim());
    libraries.with_file_name("bin").join("rust-lld").exists()
}
