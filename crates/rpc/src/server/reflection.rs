//! gRPC reflection in both versions that clients speak: v1, and v1alpha for older tools.
//!
//! Shows the services' own descriptors and those of health and of `google.rpc`'s error details, so
//! that tools can print them.

use thiserror::Error;
use tonic::service::RoutesBuilder;
use tonic_reflection::server::{Builder, Error as ReflectionError};

/// The paths of both versions, open to everybody where reflection is on.
pub(super) const PATHS: &[&str] = &[
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Why a server could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A descriptor set for reflection cannot be decoded.
    #[error("a descriptor set for reflection is not valid")]
    Descriptors(#[from] ReflectionError),
}

pub(super) fn add(
    routes: &mut RoutesBuilder,
    descriptors: &[&'static [u8]],
) -> Result<(), StartError> {
    routes.add_service(builder(descriptors).build_v1()?);
    routes.add_service(builder(descriptors).build_v1alpha()?);
    Ok(())
}

fn builder<'a>(descriptors: &[&'a [u8]]) -> Builder<'a> {
    let builder = Builder::configure()
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET);
    descriptors.iter().fold(builder, |builder, set| {
        builder.register_encoded_file_descriptor_set(set)
    })
}
