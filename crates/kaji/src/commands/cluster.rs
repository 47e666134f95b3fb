//! `kaji cluster ...`

use std::path::PathBuf;

use anyhow::Context;
use cluster::lifecycle::{self, Created};
use cluster::{ClusterState, CreateOptions, Home, kubeconfig};

use super::image;
use super::progress::Steps;
use crate::cli::ClusterCommand;

/// Runs one command.
pub async fn run(command: ClusterCommand) -> anyhow::Result<()> {
    let home = Home::from_env();
    match command {
        ClusterCommand::Create { cluster, nodes: _, api_port, kubeconfig, insecure_registry, registry_ca } => {
            let kubeconfig = kubeconfig.unwrap_or_else(kubeconfig::default_path);
            let server_args = registry_args(insecure_registry, registry_ca)?;
            create(&home, CreateOptions { name: cluster.name, api_port, kubeconfig, server_args }).await
        }
        ClusterCommand::Delete { cluster } => delete(&home, &cluster.name).await,
        ClusterCommand::List => list(&home),
        ClusterCommand::Start { cluster } => {
            let mut steps = Steps::new();
            let state = lifecycle::start(&home, &cluster.name, &mut steps).await?;
            println!("Cluster {:?} runs.", state.name);
            Ok(())
        }
        ClusterCommand::Stop { cluster } => {
            lifecycle::stop(&home, &cluster.name).await?;
            println!("Cluster {:?} is stopped; 'kaji cluster start --name {0}' starts it again.", cluster.name);
            Ok(())
        }
        ClusterCommand::LoadImage { archive, cluster } => image::import(&home, &cluster.name, &archive).await,
    }
}

/// The registries' settings as arguments of `kaji server`; files by their full path, for it runs elsewhere.
fn registry_args(insecure: Vec<String>, ca_files: Vec<PathBuf>) -> anyhow::Result<Vec<String>> {
    let mut args: Vec<String> = insecure.iter().map(|host| format!("--insecure-registry={host}")).collect();
    for file in ca_files {
        let path = file.canonicalize().with_context(|| format!("use {}", file.display()))?;
        args.push(format!("--registry-ca={}", path.display()));
    }
    Ok(args)
}

async fn create(home: &Home, options: CreateOptions) -> anyhow::Result<()> {
    println!("Creating cluster {:?}", options.name);
    let mut steps = Steps::new();
    match lifecycle::create(home, &options, &mut steps).await? {
        Created::New(state) => {
            println!("Cluster {:?} is ready after {}.", state.name, steps.elapsed());
            hints(&state);
        }
        Created::Present(state) => {
            println!("The cluster is there already, and runs.");
            hints(&state);
        }
        Created::Started(state) => {
            println!("The cluster was there already; it has been started.");
            hints(&state);
        }
    }
    Ok(())
}

fn hints(state: &ClusterState) {
    println!("API:        {}", state.server());
    for node in &state.nodes {
        println!("Node:       {} at {} (NodePorts answer there)", node.name, node.address);
    }
    println!("kubeconfig: {} (context {:?})", state.kubeconfig.display(), state.context());
    println!("Try:        kubectl get nodes --context {}", state.context());
}

async fn delete(home: &Home, name: &str) -> anyhow::Result<()> {
    if lifecycle::delete(home, name, &kubeconfig::default_path()).await? {
        println!("Cluster {name:?} is deleted.");
    } else {
        println!("There is no cluster {name:?}.");
    }
    Ok(())
}

fn list(home: &Home) -> anyhow::Result<()> {
    let clusters = home.list()?;
    println!("{:<20} {:<8} {:<6} API", "NAME", "STATE", "NODES");
    for cluster in clusters {
        let state = if cluster.is_running() { "running" } else { "stopped" };
        println!("{:<20} {state:<8} {:<6} {}", cluster.name, cluster.nodes.len(), cluster.server());
    }
    Ok(())
}
