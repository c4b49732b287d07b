//! Health and reflection: outside authentication, NOT_SERVING first.

use futures_util::StreamExt as _;
use rpc::{Reflection, ServerOptions};
use tonic::{Code, Status, Streaming, transport::Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};
use tonic_reflection::pb::{v1, v1alpha};

use crate::suite::{Suite, soon};

async fn client(suite: &Suite) -> HealthClient<tonic::transport::Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", suite.address())).expect("endpoint");
    HealthClient::new(endpoint.connect().await.expect("connected"))
}

pub(crate) async fn check(suite: &Suite, service: &str) -> Result<ServingStatus, Status> {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = client(suite).await.check(request).await?;
    Ok(answer.into_inner().status())
}

pub(crate) async fn watch(
    suite: &Suite,
    service: &str,
) -> Result<Streaming<HealthCheckResponse>, Status> {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    Ok(client(suite).await.watch(request).await?.into_inner())
}

#[tokio::test]
async fn nothing_is_serving_until_somebody_says_so() {
    let suite = Suite::start();
    for service in ["", "test.v1.TestService"] {
        assert_eq!(
            check(&suite, service).await.expect("known"),
            ServingStatus::NotServing
        );
    }
    suite.server.set_ready(true);
    for service in ["", "test.v1.TestService"] {
        assert_eq!(
            check(&suite, service).await.expect("known"),
            ServingStatus::Serving
        );
    }
    assert_eq!(
        check(&suite, "no.Service")
            .await
            .expect_err("unknown")
            .code(),
        Code::NotFound
    );
}

#[tokio::test]
async fn watchers_hear_of_every_change_and_unknown_services_stay_open() {
    let suite = Suite::start();
    let mut known = watch(&suite, "").await.expect("watching");
    let mut unknown = watch(&suite, "no.Service").await.expect("watching");
    let next = known.next().await.expect("some").expect("answer");
    assert_eq!(next.status(), ServingStatus::NotServing);
    suite.server.health().set_ready(true);
    let next = soon("a change", known.next())
        .await
        .expect("some")
        .expect("answer");
    assert_eq!(next.status(), ServingStatus::Serving);
    let next = unknown.next().await.expect("some").expect("answer");
    assert_eq!(next.status(), ServingStatus::ServiceUnknown);
    assert!(futures_util::poll!(unknown.next()).is_pending());
}

async fn services_v1(suite: &Suite) -> Result<Vec<String>, Status> {
    use v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let endpoint = Endpoint::from_shared(format!("http://{}", suite.address())).expect("endpoint");
    let mut client = ServerReflectionClient::new(endpoint.connect().await.expect("connected"));
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let asked = futures_util::stream::iter([request]);
    let mut answers = client.server_reflection_info(asked).await?.into_inner();
    let answer = answers.next().await.expect("some")?;
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("not a list")
    };
    Ok(list
        .service
        .into_iter()
        .map(|service| service.name)
        .collect())
}

async fn services_v1alpha(suite: &Suite) -> Result<Vec<String>, Status> {
    use v1alpha::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let endpoint = Endpoint::from_shared(format!("http://{}", suite.address())).expect("endpoint");
    let mut client = ServerReflectionClient::new(endpoint.connect().await.expect("connected"));
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let asked = futures_util::stream::iter([request]);
    let mut answers = client.server_reflection_info(asked).await?.into_inner();
    let answer = answers.next().await.expect("some")?;
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("not a list")
    };
    Ok(list
        .service
        .into_iter()
        .map(|service| service.name)
        .collect())
}

#[tokio::test]
async fn both_versions_of_reflection_list_what_is_served_without_a_token() {
    let suite = Suite::start();
    for services in [services_v1(&suite).await, services_v1alpha(&suite).await] {
        let mut services = services.expect("list");
        services.sort();
        let served = [
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
            "test.v1.TestService",
        ];
        assert_eq!(services, served);
    }
}

#[tokio::test]
async fn reflection_can_be_switched_off_and_then_needs_a_token_like_anything_unknown() {
    let reflection = Reflection::Off;
    let suite = Suite::with(ServerOptions {
        reflection,
        ..ServerOptions::default()
    });
    for denied in [services_v1(&suite).await, services_v1alpha(&suite).await] {
        assert_eq!(denied.expect_err("off").code(), Code::Unauthenticated);
    }
}

#[tokio::test]
async fn a_descriptor_set_that_is_none_is_refused_at_the_start() {
    let listener = rpc::Listener::bind("127.0.0.1:0".parse().expect("address")).expect("bound");
    let server = rpc::Server::new(ServerOptions::default(), crate::suite::gate());
    assert!(server.descriptors(b"\xff\xff").start(listener).is_err());
}

#[tokio::test]
async fn services_of_the_descriptors_that_are_not_served_are_not_listed() {
    use prost::Message as _;
    use prost_types::{FileDescriptorProto, FileDescriptorSet, ServiceDescriptorProto};
    let service = |name: &str| ServiceDescriptorProto {
        name: Some(name.into()),
        ..ServiceDescriptorProto::default()
    };
    let file = FileDescriptorProto {
        name: Some("test.proto".into()),
        package: Some("test.v1".into()),
        service: vec![service("TestService"), service("ServedElsewhere")],
        ..FileDescriptorProto::default()
    };
    let encoded: &'static [u8] = FileDescriptorSet { file: vec![file] }
        .encode_to_vec()
        .leak();
    let listener = rpc::Listener::bind("127.0.0.1:0".parse().expect("address")).expect("bound");
    let state = crate::service::State::new(None);
    let server = rpc::Server::new(ServerOptions::default(), crate::suite::gate())
        .descriptors(encoded)
        .add(crate::service::TestService(state.clone()))
        .start(listener)
        .expect("started");
    let services = services_v1(&Suite { server, state }).await.expect("list");
    assert!(
        services.contains(&"test.v1.TestService".to_owned()),
        "{services:?}"
    );
    assert!(
        !services.contains(&"test.v1.ServedElsewhere".to_owned()),
        "{services:?}"
    );
}
