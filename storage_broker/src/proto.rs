//! The gRPC messages, client and server, generated from `proto/broker.proto`.

tonic::include_proto!("storage_broker");
