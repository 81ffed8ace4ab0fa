//! object_store's S3 client without TLS, which its feature `aws` would bring.

use async_trait::async_trait;
use http_body_util::BodyExt as _;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector as TcpConnector},
    rt::TokioExecutor,
};
use object_store::{
    ClientOptions, Result,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
        HttpResponseBody, HttpService,
    },
};

/// Makes object_store's clients speak plain HTTP/1.1 to whatever they are told to call, and nothing else: no TLS, no
/// proxy, no timeouts; [`ClientOptions`] are not looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainHttp;

impl HttpConnector for PlainHttp {
    fn connect(&self, _options: &ClientOptions) -> Result<HttpClient> {
        let mut tcp = TcpConnector::new();
        tcp.set_nodelay(true);
        Ok(HttpClient::new(PlainClient(Client::builder(TokioExecutor::new()).build(tcp))))
    }
}

#[derive(Debug)]
struct PlainClient(Client<TcpConnector, HttpRequestBody>);

#[async_trait]
impl HttpService for PlainClient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = self.0.request(request).await;
        let answer = answer.map_err(|error| HttpError::new(HttpErrorKind::Request, error))?;
        let of_body = |error| HttpError::new(HttpErrorKind::Interrupted, error);
        Ok(answer.map(|body| HttpResponseBody::new(body.map_err(of_body))))
    }
}
