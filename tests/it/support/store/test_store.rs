//! An empty store for one test, on the engine of the test run. It is removed when dropped.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use tempfile::TempDir;
use url::Url;
use uuid::Uuid;

use super::database::Database;
use super::postgres::{Cluster, Options};

/// Environment variable: `postgres` makes the tests use that instead of SQLite.
const ENGINE: &str = "EVOLINK_RECEIVER_TEST_STORE";

/// Environment variable: a running server, with a user who may create databases. Without it a test
/// starts its own.
const SERVER: &str = "EVOLINK_RECEIVER_TEST_POSTGRES_URL";

pub struct TestStore {
    url: String,
    home: Home,
    /// The store's own folder, if it has one.
    folder: Option<TempDir>,
}

enum Home {
    File(PathBuf),
    Server(Server),
    /// The database disappears with the cluster.
    Cluster,
}

/// A server that was given to us, or our own, which ends with the last store on it.
#[derive(Clone)]
struct Server {
    url: Url,
    _own: Option<Arc<Cluster>>,
}

/// Whether the tests use PostgreSQL.
pub fn is_postgres() -> bool {
    match std::env::var(ENGINE).as_deref() {
        Ok("postgres") => true,
        Ok("sqlite" | "") | Err(_) => false,
        Ok(other) => panic!("{ENGINE}={other}: it is sqlite or postgres"),
    }
}

impl TestStore {
    /// Creates a store in its own folder, or on a server.
    pub fn new() -> Self {
        if is_postgres() {
            return Self::on_postgres().expect("the run is about PostgreSQL");
        }
        let folder = tempfile::tempdir().unwrap();
        let mut store = Self::file_in(folder.path());
        store.folder = Some(folder);
        store
    }

    /// Creates a store in `folder`, unless it is on a server.
    pub fn in_folder(folder: &Path) -> Self {
        if is_postgres() {
            return Self::new();
        }
        Self::file_in(folder)
    }

    /// Creates a SQLite store in `folder`, whatever the engine of the test run.
    pub fn file_in(folder: &Path) -> Self {
        let file = folder.join("receiver.db");
        Self {
            url: format!("sqlite:{}", file.display()),
            home: Home::File(file),
            folder: None,
        }
    }

    /// Creates a store on PostgreSQL, whatever the engine of the test run. `None` where PostgreSQL
    /// is missing, after saying so.
    pub fn on_postgres() -> Option<Self> {
        apart(async {
            let server = Server::get().await?;
            Some(Self {
                url: make_database(&server.url).await,
                home: Home::Server(server),
                folder: None,
            })
        })
    }

    /// Creates a store on the test's own server, which may then be stopped and killed.
    pub async fn on_cluster(cluster: &Cluster) -> Self {
        let server = Url::parse(&cluster.url("postgres")).unwrap();
        Self {
            url: make_database(&server).await,
            home: Home::Cluster,
            folder: None,
        }
    }

    /// The value for `store.url`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The file of a SQLite store.
    pub fn file(&self) -> Option<PathBuf> {
        match &self.home {
            Home::File(file) => Some(file.clone()),
            Home::Server(_) | Home::Cluster => None,
        }
    }

    /// Opens a connection of the test's own. The store must have been opened once.
    pub async fn connect(&self) -> Database {
        Database::connect(&self.url).await
    }

    /// Sets whether new connections to a store on a server are allowed from now on. Done from
    /// another database, because a session cannot forbid connections to its own.
    pub async fn let_in(&self, is_open: bool) {
        let mut beside = Url::parse(&self.url).unwrap();
        beside.set_path("postgres");
        let beside = Database::connect(beside.as_str()).await;
        let name = name_of(&self.url);
        let sql = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {is_open}");
        beside.execute(&sql).await;
        beside.close().await;
    }
}

impl Drop for TestStore {
    fn drop(&mut self) {
        let Home::Server(server) = &self.home else {
            return;
        };
        let (server, name) = (server.url.clone(), name_of(&self.url));
        apart(async move {
            // The receiver of this store may still hold connections.
            if let Ok(all) = Database::try_connect(server.as_str()).await {
                let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                let _ = all.try_execute(&drop).await;
                all.close().await;
            }
        });
    }
}

impl Server {
    async fn get() -> Option<Self> {
        static OWN: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        if let Some(url) = std::env::var(SERVER).ok().filter(|url| !url.is_empty()) {
            let url = Url::parse(&url).expect(SERVER);
            return Some(Self { url, _own: None });
        }
        let running = OWN.lock().unwrap().upgrade();
        let own = match running {
            Some(own) => own,
            None => {
                let own = Arc::new(Cluster::start(Options::quick()).await?);
                *OWN.lock().unwrap() = Arc::downgrade(&own);
                own
            }
        };
        let url = Url::parse(&own.url("postgres")).unwrap();
        Some(Self {
            url,
            _own: Some(own),
        })
    }
}

/// Creates an empty database, and returns its URL.
async fn make_database(server: &Url) -> String {
    let name = format!("test_{}", Uuid::now_v7().simple());
    let all = Database::connect(server.as_str()).await;
    let make = format!("CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy");
    all.execute(&make).await;
    all.close().await;
    let mut url = server.clone();
    url.set_path(&name);
    url.into()
}

fn name_of(url: &str) -> String {
    url.rsplit_once('/').unwrap().1.to_owned()
}

/// Runs the future to its end outside of the current runtime, so that a store can be created and
/// dropped anywhere.
fn apart<T: Send>(work: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let work = move || {
            let mut runtime = runtime;
            runtime.enable_all().build().unwrap().block_on(work)
        };
        scope.spawn(work).join().unwrap()
    })
}
