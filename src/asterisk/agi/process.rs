//! AGI as a process: Asterisk starts us and speaks over our standard input and output.

use std::future::Future;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::error::AgiError;
use super::handler::Router;
use super::server::attend;
use super::session::Patience;

/// Serves the one session of this process: its handler is looked for under `name`, whatever Asterisk calls the program.
/// `hung_up` ends when the process is told so by a signal (SIGHUP).
///
/// # Errors
/// Whatever the handler ended with.
pub async fn serve<R, W>(
    reader: R,
    writer: W,
    router: &Router,
    name: &str,
    hung_up: impl Future<Output = ()>,
) -> Result<(), AgiError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let gone = CancellationToken::new();
    router.only(name)?;
    let attended = attend(reader, writer, |_: &str| router.only(name), &gone, Patience::default());
    let told = async {
        hung_up.await;
        gone.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = attended => ended,
        () = told => Ok(()),
    }
}
