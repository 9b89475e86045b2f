//! Generates the gRPC code from `proto/broker.proto`, without a system `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["proto/broker.proto"], ["proto"])?;
    tonic_prost_build::configure()
        // Ids are copied once per subscriber: shared bytes make that cheap.
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
