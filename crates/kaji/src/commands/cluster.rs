//! `kaji cluster ...`

use std::path::Path;

use cluster::lifecycle::{self, Created};
use cluster::{ClusterState, CreateOptions, Home, kubeconfig};

use super::image;
use super::progress::Steps;
use crate::cli::ClusterCommand;

/// Runs one command.
pub async fn run(command: ClusterCommand) -> anyhow::Result<()> {
    let home = Home::from_env();
    match command {
        ClusterCommand::Create { cluster, nodes: _, api_port, kubeconfig } => {
            let kubeconfig = kubeconfig.unwrap_or_else(kubeconfig::default_path);
            create(&home, CreateOptions { name: cluster.name, api_port, kubeconfig }).await
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
    if state.kubeconfig != Path::new("") {
        println!("Try:        kubectl get nodes --context {}", state.context());
    }
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
