//! Compiles `proto/*.proto` with protox (a compiler in Rust: no `protoc` needed) and prost.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["proto/signal.proto", "proto/whatsapp.proto", "proto/records.proto"];
    for file in files {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["proto"])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
