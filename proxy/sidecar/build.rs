//! How the binary is linked, so that little of it becomes memory.

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
    // Functions that are the same, as those for types of one shape are, are there once. Only Rust's own linker is known to.
    if target("ARCH") == "x86_64" {
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
