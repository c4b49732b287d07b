//! Seeded chaos: servers come and go, connectors are switched and deleted, the whole process is killed; at the end everything
//! that should be READY is, and nothing is left over. Run by `cargo xtask soak`, for as long as it is given.

use std::time::Instant;

use integration_tests::{
    Connected, Connection, HttpServer, LONG, State, StdioServer, Up, eventually, note, soak_seed,
    soak_time,
};

/// A small generator, so that a seed means the same on every machine and in every year.
struct Dice(u64);

impl Dice {
    /// A number below `limit` (xorshift64*).
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let mixed = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D);
        usize::try_from(mixed >> 33).unwrap_or(0) % limit
    }
}

/// What the chaos has made so far.
struct World {
    up: Option<Up>,
    servers: Vec<(HttpServer, bool)>,
    programs: Vec<StdioServer>,
    connectors: Vec<(Connected, bool)>,
}

impl World {
    fn up(&self) -> &Up {
        self.up.as_ref().unwrap()
    }

    /// One step of chaos, and what it was.
    async fn step(&mut self, dice: &mut Dice, folder: &std::path::Path) -> String {
        match dice.below(20) {
            kind @ 0..16 => self.change(kind, dice).await,
            16 => {
                self.up.take().unwrap().kill().await;
                self.up = Some(Up::start(folder).await);
                "kill -9".into()
            }
            _ if self.connectors.is_empty() => "nothing".into(),
            _ => {
                let at = dice.below(self.connectors.len());
                let (connector, clients) = (&self.connectors[at].0, self.up().clients("caller"));
                let answer = clients
                    .call_within(connector, "echo", "{}", LONG / 10)
                    .await;
                let said = answer.map(|_| "ok".to_owned());
                let said = said.unwrap_or_else(|status| status.to_string());
                format!("call {}: {said}", connector.name)
            }
        }
    }

    /// Something is connected, comes, goes, is switched, or is deleted.
    async fn change(&mut self, kind: usize, dice: &mut Dice) -> String {
        let clients = self.up().clients("caller");
        match kind {
            0..4 if self.connectors.len() < 9 => {
                let at = dice.below(self.servers.len());
                let what = Connection::from(&self.servers[at].0).secret("x-key", "chaos-secret");
                self.connectors.push((clients.connect(what).await, true));
                format!("connect server {at}")
            }
            4..6 if self.connectors.len() < 9 => {
                let program = StdioServer::with_tools(&["echo"]);
                self.connectors
                    .push((clients.connect(&program).await, true));
                self.programs.push(program);
                "connect a program".into()
            }
            6..10 => {
                let at = dice.below(self.servers.len());
                let (server, listens) = &mut self.servers[at];
                if *listens {
                    server.disconnect()
                } else {
                    server.reconnect()
                }
                *listens = !*listens;
                format!("server {at} listens: {listens}")
            }
            10..14 if !self.connectors.is_empty() => {
                let at = dice.below(self.connectors.len());
                let (connector, enabled) = &mut self.connectors[at];
                if *enabled {
                    clients.disable(connector).await
                } else {
                    clients.enable(connector).await
                }
                *enabled = !*enabled;
                format!("{} enabled: {enabled}", connector.name)
            }
            14..16 if !self.connectors.is_empty() => {
                let at = dice.below(self.connectors.len());
                let (connector, _) = self.connectors.swap_remove(at);
                clients.delete(&connector).await;
                format!("delete {}", connector.name)
            }
            _ => "nothing".into(),
        }
    }

    /// Everything that ought to work does, and what is off is off.
    async fn settles(&mut self) {
        for (server, listens) in self.servers.iter_mut().filter(|(_, listens)| !*listens) {
            server.reconnect();
            *listens = true;
        }
        let clients = self.up().clients("caller");
        for (connector, enabled) in &self.connectors {
            let state = if *enabled {
                State::Ready
            } else {
                State::Disabled
            };
            clients.wait_for(connector, state).await;
            if *enabled {
                clients.call(connector, "echo", "{}").await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn chaos_settles() {
    let seed = soak_seed();
    let folder = tempfile::tempdir().unwrap();
    let mut world = World {
        up: Some(Up::start(folder.path()).await),
        servers: (0..3)
            .map(|_| (HttpServer::start(["echo"]), true))
            .collect(),
        programs: Vec::new(),
        connectors: Vec::new(),
    };
    note(&format!("seed {seed}, {:?}", soak_time()));
    let mut dice = Dice(seed);
    let begun = Instant::now();
    let mut steps = 0_usize;
    while begun.elapsed() < soak_time() {
        let what = world.step(&mut dice, folder.path()).await;
        steps += 1;
        note(&format!("{steps}: {what}"));
        if steps.is_multiple_of(40) {
            world.settles().await;
        }
    }
    world.settles().await;
    let clients = world.up().clients("caller");
    for (connector, _) in &world.connectors {
        clients.delete(connector).await;
    }
    for program in &world.programs {
        eventually("no process is left", LONG, async || {
            match program.processes() {
                left if left.is_empty() => Ok(()),
                left => Err(format!("{left:?}")),
            }
        })
        .await;
    }
    world.up.take().unwrap().terminate().await;
    note(&format!("{steps} steps"));
}
