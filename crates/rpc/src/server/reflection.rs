//! gRPC reflection in both versions that clients speak: v1, and v1alpha for older tools.
//!
//! Lists what this server serves, however much more the descriptor sets hold; describes everything
//! in them, and health and `google.rpc`'s error details, so that tools can print those too.

use thiserror::Error;
use tonic::service::RoutesBuilder;
use tonic_reflection::server::{Builder, Error as ReflectionError};

/// The paths of both versions, open to everybody where reflection is on.
pub(super) const PATHS: &[&str] = &[
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// What every server serves beside its own services.
const OWN_SERVICES: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// Why a server could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A descriptor set for reflection cannot be decoded.
    #[error("a descriptor set for reflection is not valid")]
    Descriptors(#[from] ReflectionError),
}

/// Adds both versions, which list `services`, health and themselves, and nothing else that the
/// descriptors may hold.
pub(super) fn add(
    routes: &mut RoutesBuilder,
    descriptors: &[&'static [u8]],
    services: &[&'static str],
) -> Result<(), StartError> {
    routes.add_service(builder(descriptors, services).build_v1()?);
    routes.add_service(builder(descriptors, services).build_v1alpha()?);
    Ok(())
}

fn builder<'a>(descriptors: &[&'a [u8]], services: &[&'static str]) -> Builder<'a> {
    let own = [
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_types::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    let builder = Builder::configure().include_reflection_service(false);
    let builder = descriptors
        .iter()
        .copied()
        .chain(own)
        .fold(builder, |builder, set| {
            builder.register_encoded_file_descriptor_set(set)
        });
    services
        .iter()
        .copied()
        .chain(OWN_SERVICES)
        .fold(builder, |builder, name| builder.with_service_name(name))
}
