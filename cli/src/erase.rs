//! `throughline erase`: makes a person's data unreadable everywhere.

use http::Method;

use crate::arguments::Target;
use crate::client::Client;
use crate::failure::Failure;
use crate::table::line;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Whose kind: user or contact
    kind: String,
    /// The person's id
    id: String,
    /// Do it without asking; there is no way back
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    target: Target,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { kind, id, yes, target } = arguments;
    if !yes {
        return Err(Failure::Usage(format!(
            "what is sealed for {kind} {id} becomes unreadable for ever; add --yes to have it done"
        )));
    }
    let client: Client = target.gateway()?;
    let segment = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let path = format!("/v1/subjects/{}/{}", segment(&kind), segment(&id));
    let request = client.request(Method::DELETE, &path, true);
    let answer = client.send(request, bytes::Bytes::new()).await?;
    line(&String::from_utf8_lossy(&answer))
}
