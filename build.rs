//! Link settings of the addon.

fn main() {
    #[cfg(feature = "addon")]
    {
        napi_build::setup();
        // Node unloads an addon when the last environment that loaded it ends; close callbacks and
        // allocator hooks may still point into it. The library stays mapped instead.
        if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
            println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
            // What faults/ defines is meant, not what the process has under the same name.
            #[cfg(feature = "faults")]
            println!("cargo:rustc-cdylib-link-arg=-Wl,-Bsymbolic");
        }
    }
}
