//! The program in front of several servers, and agents at the one address for all of them.

use sha2::Digest as _;

use super::{
    ANN, Agent, App, BOB, Client, Config, Dir, Environment, Placet, Settings, Sha256, hex,
};

impl Placet {
    /// In front of these servers, by name and address, all under the same policy.
    pub async fn in_front_of(upstreams: &[(&str, &str)], settings: &Settings) -> Self {
        // Another test may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = Dir::new();
        std::fs::write(dir.0.join("policy.json"), &settings.policy).unwrap();
        let upstreams: Vec<String> = upstreams
            .iter()
            .map(|(name, url)| {
                format!(
                    "[[upstreams]]\nname = \"{name}\"\nurl = \"{url}\"\npolicy = \"policy.json\""
                )
            })
            .collect();
        let text = format!(
            r#"
            [server]
            listen = "127.0.0.1:0"
            public_url = "http://127.0.0.1:0"
            {server}
            [database]
            url = "sqlite:placet.db"
            [approvals]
            {approvals}
            {upstreams}
            [[agents]]
            name = "ann"
            token_sha256 = "{ann}"
            [[agents]]
            name = "bob"
            token_sha256 = "{bob}"
            upstreams = ["u"]
            [[reviewers]]
            name = "rita"
            role = "admin"
            token_sha256 = "{rita}"
            "#,
            server = settings.server,
            approvals = settings.approvals,
            upstreams = upstreams.join("\n"),
            ann = hex(&Sha256::digest(ANN)),
            bob = hex(&Sha256::digest(BOB)),
            rita = hex(&Sha256::digest(super::RITA)),
        );
        let file = dir.0.join("placet.toml");
        let (config, _) = Config::read(&text, Some(&file), &Environment::new())
            .unwrap_or_else(|problems| panic!("{problems:?}"));
        let app = App::build(config).await.unwrap();
        let base = format!("http://{}", app.address());
        let (broker, stop) = (app.broker.clone(), app.stop());
        let run = tokio::spawn(app.run());
        let http = Client::builder().no_proxy().build().unwrap();
        Self { base, broker, http, stop, run, dir }
    }
}

impl Agent {
    /// At the one address for everything.
    pub fn whole(&self) -> Self {
        Self { url: self.url.replace("/mcp/u", "/mcp"), ..self.clone() }
    }
}
