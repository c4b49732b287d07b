//! What a stranger with a gRPC client finds: reflection in both versions, health, and honest errors.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use integration_tests::{Suite, lazy_channel, reason_of};
use tokio_stream::StreamExt as _;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// The services that a reflection service of one version lists.
macro_rules! listed {
    ($version:ident, $address:expr) => {{
        use tonic_reflection::pb::$version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut client = ServerReflectionClient::new(lazy_channel($address));
        let stream = client
            .server_reflection_info(tokio_stream::once(request))
            .await;
        let answer = stream.unwrap().into_inner().next().await.unwrap().unwrap();
        match answer.message_response {
            Some(MessageResponse::ListServicesResponse(list)) => list
                .service
                .into_iter()
                .map(|service| service.name)
                .collect::<BTreeSet<String>>(),
            other => panic!("{other:?}"),
        }
    }};
}

fn own_services(address: SocketAddr, suite: &Suite) -> BTreeSet<String> {
    let addresses = suite.addresses();
    let names: &[&str] = if address == addresses.registry {
        &["patchbay.registry.v1.ConnectorService"]
    } else if address == addresses.vault {
        &["patchbay.vault.v1.SecretService"]
    } else {
        &[
            "patchbay.runtime.v1.SessionService",
            "patchbay.runtime.v1.ToolService",
        ]
    };
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn both_versions_of_reflection_list_the_same_services() {
    let suite = Suite::start().await;
    for address in suite.addresses().all() {
        let (new, old) = (listed!(v1, address), listed!(v1alpha, address));
        assert_eq!(new, old);
        let own = own_services(address, &suite);
        assert!(own.is_subset(&new), "{own:?} is not in {new:?}");
        assert!(new.contains("grpc.health.v1.Health"), "{new:?}");
        let ours: BTreeSet<String> = new
            .into_iter()
            .filter(|name| name.starts_with("patchbay."))
            .collect();
        assert_eq!(ours, own, "no more than is served here");
    }
}

#[tokio::test]
async fn health_is_public_and_known_for_each_service() {
    let suite = Suite::start().await;
    for address in suite.addresses().all() {
        let mut client = HealthClient::new(lazy_channel(address));
        let mut names = own_services(address, &suite);
        names.insert(String::new());
        for service in names {
            let request = HealthCheckRequest {
                service: service.clone(),
            };
            let status = client.check(request).await.unwrap().into_inner().status();
            assert_eq!(status, ServingStatus::Serving, "{address} {service:?}");
        }
        let unknown = HealthCheckRequest {
            service: "nobody.v1.Nothing".into(),
        };
        assert_eq!(
            client.check(unknown).await.unwrap_err().code(),
            Code::NotFound
        );
    }
}

#[tokio::test]
async fn a_method_that_does_not_exist_is_unimplemented_even_for_an_operator() {
    let suite = Suite::start().await;
    let paths = [
        "/patchbay.registry.v1.ConnectorService/DropEverything",
        "/nobody.v1.Nothing/AtAll",
    ];
    for address in suite.addresses().all() {
        for path in paths {
            let status = suite.call_unknown(address, path).await;
            assert_eq!(
                status.code(),
                Code::Unimplemented,
                "{address} {path}: {status:?}"
            );
            assert_eq!(reason_of(&status), "METHOD_UNKNOWN", "{address} {path}");
        }
    }
}
