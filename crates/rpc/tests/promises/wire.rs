//! A bare HTTP/2 client: no timers, no keepalive and no codes of its own, so what a test sees is
//! what the server said.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, Response, Version};
use prost::Message as _;
use tokio::{net::TcpStream, task::JoinSet};

use crate::service::Ask;

/// A connection and the task that drives it.
pub(crate) struct Wire {
    pub(crate) sender: SendRequest<Bytes>,
    pub(crate) driver: JoinSet<Result<(), h2::Error>>,
    address: SocketAddr,
}

impl Wire {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        // What HTTP/2 begins with.
        Self::with_window(address, 65_535).await
    }

    /// A client that takes so many bytes of each answer before it has to ask for more.
    pub(crate) async fn with_window(address: SocketAddr, window: u32) -> Self {
        let stream = TcpStream::connect(address).await.expect("connected");
        let mut builder = h2::client::Builder::new();
        let handshake = builder.initial_window_size(window).handshake(stream);
        let (sender, connection) = handshake.await.expect("handshake");
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        Self {
            sender,
            driver,
            address,
        }
    }

    /// Another handle to the same connection.
    pub(crate) fn share(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            driver: JoinSet::new(),
            address: self.address,
        }
    }

    /// Sends a call as "ada" and gives the head of the answer.
    pub(crate) async fn call(
        &mut self,
        path: &str,
        headers: &[(&'static str, &'static str)],
        message: &Ask,
    ) -> Result<Response<h2::RecvStream>, h2::Error> {
        self.send(path, headers, framed(&message.encode_to_vec()))
            .await
    }

    /// Like [`Wire::call`], with a body as it stands.
    pub(crate) async fn send(
        &mut self,
        path: &str,
        headers: &[(&'static str, &'static str)],
        content: Bytes,
    ) -> Result<Response<h2::RecvStream>, h2::Error> {
        let mut request = Request::builder()
            .method(Method::POST)
            .version(Version::HTTP_2)
            .uri(format!("http://{}{path}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("authorization", "Bearer ada");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("request");
        let mut sender = self.sender.clone().ready().await?;
        let (answer, mut body) = sender.send_request(request, false)?;
        body.send_data(content, true)?;
        answer.await
    }
}

/// A message with its gRPC prefix.
pub(crate) fn framed(encoded: &[u8]) -> Bytes {
    let length = u32::try_from(encoded.len()).expect("small");
    [&[0][..], &length.to_be_bytes(), encoded].concat().into()
}

/// The status of an answer: in its head, or in its trailers after whatever it streamed.
pub(crate) async fn status(answer: Response<h2::RecvStream>) -> (String, HeaderMap) {
    let (head, mut body) = answer.into_parts();
    let headers = if head.headers.contains_key("grpc-status") {
        head.headers
    } else {
        while let Some(data) = body.data().await {
            let data = data.expect("data");
            body.flow_control()
                .release_capacity(data.len())
                .expect("capacity");
        }
        body.trailers().await.expect("trailers").expect("some")
    };
    let code = headers["grpc-status"].to_str().expect("text").to_owned();
    (code, headers)
}
