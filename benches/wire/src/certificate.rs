//! A certificate for one run: whoever terminates TLS shows it, and the load trusts it and nothing else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where its files are, all of them PEM.
pub(crate) struct Certificate {
    /// The certificate.
    pub(crate) chain: PathBuf,
    /// Its key: ECDSA on P-256.
    pub(crate) key: PathBuf,
    /// Both in one file.
    pub(crate) both: PathBuf,
}

impl Certificate {
    /// Makes a certificate for a name.
    pub(crate) fn make(folder: &Path, name: &str) -> io::Result<Self> {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).map_err(io::Error::other)?;
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let certificate =
            Self { chain: folder.join("chain.pem"), key: folder.join("key.pem"), both: folder.join("both.pem") };
        fs::write(&certificate.chain, &chain)?;
        fs::write(&certificate.key, &key)?;
        fs::write(&certificate.both, chain + &key)?;
        Ok(certificate)
    }
}
