//! `hypercache backup …`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::list::{Found, Which, list, of_one};
use super::manifest::Manifest;
use super::member::Member;
use super::point::Target;
use super::{Destination, Error, Identities, Place, Settings, prune, restore, time, verify};

/// What can be done with backups.
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Have a member that runs make a backup, to the destination of its configuration (backup.url)
    Create(CreateArgs),
    /// Show the backups that there are
    List(ListArgs),
    /// Read a backup through, and say what is wrong with it
    Verify(VerifyArgs),
    /// Restore a backup into an empty data directory, to its end or to an earlier point
    Restore(RestoreArgs),
    /// Remove all backups but the newest
    Prune(PruneArgs),
}

/// The flags of `backup create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The member's HTTP address [env: HYPERCACHE_MEMBER]
    #[arg(long, value_name = "URL")]
    pub member: Option<String>,
    /// How long to wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    pub timeout: u64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Where backups are.
#[derive(Debug, Args)]
pub struct WhereArgs {
    /// s3://BUCKET/PREFIX, file:///PATH or a path [env: HYPERCACHE_BACKUP_URL]. Credentials of S3:
    /// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Address of the object storage [env: HYPERCACHE_BACKUP_S3_ENDPOINT]
    #[arg(long, value_name = "URL")]
    pub s3_endpoint: Option<String>,
    /// Its region [env: HYPERCACHE_BACKUP_S3_REGION]
    #[arg(long, value_name = "NAME")]
    pub s3_region: Option<String>,
    /// Only backups of this member, or of the data set that begins with these digits
    #[arg(long, value_name = "NAME")]
    pub of: Option<String>,
}

/// The flags of `backup list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Where.
    #[command(flatten)]
    pub at: WhereArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The flags of `backup verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Where.
    #[command(flatten)]
    pub at: WhereArgs,
    /// The backup's name; the newest unless given
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// The file with the secret key, as age-keygen writes it
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Where files are put together; the system's directory for temporary files unless given
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
}

/// The flags of `backup restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Where.
    #[command(flatten)]
    pub at: WhereArgs,
    /// The data directory (node.data_dir): empty, or not there
    #[arg(long, value_name = "DATA_DIR")]
    pub to: PathBuf,
    /// The backup's name; the newest that has the point unless given
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// The file with the secret key, as age-keygen writes it
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Restore all records up to this sequence
    #[arg(long, value_name = "N", conflicts_with = "to_time")]
    pub to_sequence: Option<u64>,
    /// Restore all that was done up to this time: 2026-11-29T04:00:00Z, or milliseconds since 1970
    #[arg(long, value_name = "TIME")]
    pub to_time: Option<String>,
}

/// The flags of `backup prune`.
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Where.
    #[command(flatten)]
    pub at: WhereArgs,
    /// How many backups of each data set stay, at least 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: u32,
}

/// Does it; what is to be printed.
///
/// # Errors
/// What went wrong.
pub fn run(command: &BackupCommand, env: impl Fn(&str) -> Option<String>) -> Result<String, Error> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Error::Member(format!("threads: {error}")))?;
    runtime.block_on(async {
        match command {
            BackupCommand::Create(args) => create(args, env).await,
            BackupCommand::List(args) => show(args, env).await,
            BackupCommand::Verify(args) => check(args, env).await,
            BackupCommand::Restore(args) => bring_back(args, env).await,
            BackupCommand::Prune(args) => remove(args, env).await,
        }
    })
}

impl WhereArgs {
    fn open(&self, env: impl Fn(&str) -> Option<String>) -> Result<(Destination, Which), Error> {
        let given = |flag: &Option<String>, name| flag.clone().or_else(|| env(name));
        let url = given(&self.url, "HYPERCACHE_BACKUP_URL").ok_or_else(|| Error::Setting {
            key: "--url",
            reason: "missing: where are the backups? (or set HYPERCACHE_BACKUP_URL)".into(),
        })?;
        // A path may be from here.
        let url = match url.contains("://") {
            true => url,
            false => std::path::absolute(&url)
                .map_err(|error| Error::file(url.as_ref(), error))?
                .display()
                .to_string(),
        };
        Place::parse(&url).map_err(|reason| Error::Setting { key: "--url", reason })?;
        let s3_endpoint = given(&self.s3_endpoint, "HYPERCACHE_BACKUP_S3_ENDPOINT");
        let s3_region = given(&self.s3_region, "HYPERCACHE_BACKUP_S3_REGION");
        let destination = Settings { url, s3_endpoint, s3_region }.open(false)?;
        Ok((destination, Which { of: self.of.clone(), id: None }))
    }
}

async fn create(args: &CreateArgs, env: impl Fn(&str) -> Option<String>) -> Result<String, Error> {
    let url = args.member.clone().or_else(|| env("HYPERCACHE_MEMBER"));
    let member = Member {
        url: url.unwrap_or_else(|| "http://127.0.0.1:9080".into()),
        password: env("HYPERCACHE_PASSWORD"),
    };
    let done = member.create(Duration::from_secs(args.timeout)).await?;
    if args.json {
        return Ok(format!("{done}\n"));
    }
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    Ok(format!(
        "backup {} is complete: {} bytes, of which {} in {} objects were sent, in {} ms; sequence {} to {}\n",
        done["id"].as_str().unwrap_or_default(),
        number(&done["stored_bytes"]),
        number(&done["sent_bytes"]),
        number(&done["sent_objects"]),
        number(&done["took_ms"]),
        number(&done["from"]["sequence"]),
        number(&done["to"]["sequence"]),
    ))
}

fn as_json(of: &Manifest) -> Value {
    let stores: Vec<_> = of
        .stores
        .iter()
        .map(|s| json!({"number": s.number, "name": s.name, "mode": s.mode}))
        .collect();
    json!({
        "id": of.id,
        "member": of.member,
        "cluster": of.cluster,
        "data_set": of.data_set,
        "created_ms": of.created_ms,
        "took_ms": of.took_ms,
        "from": of.from,
        "to": of.to,
        "bytes": of.stored_bytes(),
        "encrypted": of.recipient.is_some(),
        "recipient": of.recipient,
        "stores": stores,
    })
}

async fn show(args: &ListArgs, env: impl Fn(&str) -> Option<String>) -> Result<String, Error> {
    let (destination, which) = args.at.open(env)?;
    let Found { backups, wrong } = list(&destination, &which).await?;
    if args.json {
        let backups: Vec<_> = backups.iter().map(as_json).collect();
        return Ok(format!("{}\n", json!({ "backups": backups, "wrong": wrong })));
    }
    let mut text = String::new();
    for of in &backups {
        let encrypted = if of.recipient.is_some() { "encrypted" } else { "not encrypted" };
        text.push_str(&format!(
            "{}  member {}  {}  {} bytes  {encrypted}\n",
            of.id,
            of.member,
            of.range(),
            of.stored_bytes()
        ));
    }
    if backups.is_empty() {
        text.push_str(&format!("there are no backups at {}\n", destination.url()));
    }
    wrong.iter().for_each(|wrong| text.push_str(&format!("{wrong}\n")));
    Ok(text)
}

fn identities(path: &Option<PathBuf>) -> Result<Option<Arc<Identities>>, Error> {
    path.as_deref().map(|path| Identities::read(path).map(Arc::new)).transpose()
}

async fn check(args: &VerifyArgs, env: impl Fn(&str) -> Option<String>) -> Result<String, Error> {
    let (destination, which) = args.at.open(env)?;
    let which = Which { id: args.id.clone(), ..which };
    let backups = of_one(&destination, &which).await?;
    let manifest = Target::Latest.find(&backups)?;
    let identities = identities(&args.identity)?;
    let scratch = args.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let checked = verify::verify(&destination, manifest, identities.as_ref(), &scratch).await?;
    if checked.wrong.is_empty() {
        return Ok(format!(
            "backup {} is whole: {} objects, {} bytes; {}\n",
            manifest.id,
            checked.objects,
            checked.stored_bytes,
            manifest.range()
        ));
    }
    Err(Error::Unsound(format!("backup {} is damaged:\n{}", manifest.id, checked.wrong.join("\n"))))
}

async fn bring_back(
    args: &RestoreArgs,
    env: impl Fn(&str) -> Option<String>,
) -> Result<String, Error> {
    let target = match (args.to_sequence, &args.to_time) {
        (Some(sequence), _) => Target::Sequence(sequence),
        (None, Some(text)) => {
            let ms = time::parse(text);
            Target::Time(ms.map_err(|reason| Error::Setting { key: "--to-time", reason })?)
        }
        (None, None) => Target::Latest,
    };
    let (destination, which) = args.at.open(env)?;
    let which = Which { id: args.id.clone(), ..which };
    let backups = of_one(&destination, &which).await?;
    let identities = identities(&args.identity)?;
    let restored = restore::restore(restore::Options {
        destination: &destination,
        manifest: target.find(&backups)?,
        identities: identities.as_ref(),
        to: &args.to,
        target,
    })
    .await?;
    Ok(format!(
        "{}start a member with this data directory and these stores, or more:\n{}",
        restored.told(),
        restored.configuration()
    ))
}

async fn remove(args: &PruneArgs, env: impl Fn(&str) -> Option<String>) -> Result<String, Error> {
    let (destination, which) = args.at.open(env)?;
    let keep = usize::try_from(args.keep).unwrap_or(usize::MAX);
    let pruned = prune::prune(&destination, &which, keep).await?;
    let mut text = String::new();
    pruned.backups.iter().for_each(|id| text.push_str(&format!("backup {id} is removed\n")));
    text.push_str(&format!("{} objects, {} bytes are removed\n", pruned.objects, pruned.bytes));
    Ok(text)
}
