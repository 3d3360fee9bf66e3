//! Compiles `proto/*.proto` with protox (a compiler in Rust: no `protoc` needed) and prost.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["proto/signal.proto", "proto/whatsapp.proto", "proto/records.proto", "proto/sandbox.proto"];
    for file in files {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["proto"])?;
    // What holds keys is wiped when it is dropped.
    let mut config = prost_build::Config::new();
    for message in ["KeyBlock", "SenderKeyDistributionMessage", "SenderKeyStateStructure", "SenderKeyRecordStructure"] {
        config.type_attribute(format!(".signal.{message}"), "#[derive(zeroize::Zeroize, zeroize::ZeroizeOnDrop)]");
    }
    config.compile_fds(descriptors)?;
    Ok(())
}
