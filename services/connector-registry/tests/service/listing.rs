//! Lists over gRPC: filters, tokens, pages.

use contracts::registry::v1 as pb;
use database::testing::TestDatabase;
use prost::Message as _;
use tonic::Code;

use crate::harness::*;

fn list(parent: &str, filter: &str) -> pb::ListConnectorsRequest {
    pb::ListConnectorsRequest {
        parent: parent.into(),
        filter: filter.into(),
        ..Default::default()
    }
}

fn labelled(key: &str, value: &str) -> pb::Connector {
    pb::Connector {
        labels: [(key.to_owned(), value.to_owned())].into(),
        ..http(vec![])
    }
}

async fn ids(client: &mut Client, request: pb::ListConnectorsRequest) -> Vec<String> {
    let page = client.list_connectors(request).await.unwrap().into_inner();
    page.connectors
        .iter()
        .map(|one| one.name.rsplit('/').next().unwrap().to_owned())
        .collect()
}

database::test_on_both! {
    /// Filters and orders are understood; what is not understood is refused by name.
    async fn filters_and_orders(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        create(&mut ada, "a", labelled("env", "prod")).await;
        create(&mut ada, "b", labelled("env", "test")).await;
        create(&mut ada, "c", http(vec![declared("X-Key")])).await;
        assert_eq!(ids(&mut ada, list("users/ada", "condition = ERROR")).await, ["c"]);
        assert_eq!(ids(&mut ada, list("users/ada", "labels.env = \"prod\" AND state = PENDING")).await, ["a"]);
        assert_eq!(ids(&mut ada, list("users/ada", "(labels.env = prod OR state = MISCONFIGURED)")).await, ["a", "c"]);
        let newest = pb::ListConnectorsRequest { order_by: "create_time desc".into(), ..list("users/ada", "") };
        assert_eq!(ids(&mut ada, newest).await, ["c", "b", "a"]);
        for filter in ["owner = ada", "state = SLEEPING", "labels.env = ", "state = READY)"] {
            assert_eq!(fields(ada.list_connectors(list("users/ada", filter)).await), ["filter"], "{filter}");
        }
        let order = pb::ListConnectorsRequest { order_by: "uid".into(), ..list("users/ada", "") };
        assert_eq!(fields(ada.list_connectors(order).await), ["order_by"]);
        let size = pb::ListConnectorsRequest { page_size: -1, ..list("users/ada", "") };
        assert_eq!(fields(ada.list_connectors(size).await), ["page_size"]);
    }

    /// Pages put together are the list; a token holds for its own list only.
    async fn pages_and_their_tokens(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut ada = suite.client("ada");
        for id in ["a", "b", "c", "d", "e"] {
            create(&mut ada, id, http(vec![])).await;
        }
        let page = |token: &str| pb::ListConnectorsRequest {
            page_size: 2,
            page_token: token.into(),
            ..list("users/ada", "")
        };
        let first = ada.list_connectors(page("")).await.unwrap().into_inner();
        assert_eq!(first.connectors.len(), 2);
        // The row at the boundary goes, and one that sorts before it comes.
        delete(&mut ada, "users/ada/connectors/b").await.unwrap();
        create(&mut ada, "aa", http(vec![])).await;
        assert_eq!(ids(&mut ada, page(&first.next_page_token)).await, ["c", "d"]);
        let second = ada.list_connectors(page(&first.next_page_token)).await.unwrap().into_inner();
        let last = ada.list_connectors(page(&second.next_page_token)).await.unwrap().into_inner();
        assert_eq!((last.connectors.len(), last.next_page_token.as_str()), (1, ""));
        let elsewhere = pb::ListConnectorsRequest { filter: "enabled = true".into(), ..page(&first.next_page_token) };
        let (code, view) = refusal(ada.list_connectors(elsewhere).await);
        assert_eq!((code, view.reason.as_str()), (Code::InvalidArgument, "PAGE_TOKEN_INVALID"));
        assert_eq!(reason(ada.list_connectors(page("AQID")).await), "PAGE_TOKEN_INVALID");
    }

    /// An operator lists across scopes; large connectors make small pages.
    async fn pages_stay_below_three_mebibytes(database: TestDatabase) {
        let suite = Suite::start(&database).await;
        let mut operator = suite.client("operator");
        for number in 0..16 {
            let variables = (0..4).map(|at| plain(&format!("V{at}"), &"x".repeat(60_000))).collect();
            let request = creation("projects/big", &format!("c{number:02}"), stdio(variables));
            operator.create_connector(request).await.unwrap();
        }
        let mut request = pb::ListConnectorsRequest { page_size: 500, ..list("projects/-", "") };
        let mut seen = Vec::new();
        loop {
            let page = operator.list_connectors(request.clone()).await.unwrap().into_inner();
            assert!(page.encoded_len() < 3_400_000, "{}", page.encoded_len());
            seen.extend(page.connectors.into_iter().map(|one| one.name));
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        let expected: Vec<_> = (0..16).map(|number| format!("projects/big/connectors/c{number:02}")).collect();
        assert_eq!(seen, expected);
    }
}
