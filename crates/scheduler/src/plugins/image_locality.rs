//! ImageLocality: a node is better that already has the pod's images (upstream: plugins/imagelocality).

use std::sync::Arc;

use k8s_openapi::api::core::v1::Container;

use crate::framework::{Cycle, MAX_NODE_SCORE, Normalize, Plugin, Score};
use crate::node_info::NodeInfo;

const NAME: &str = "ImageLocality";
const MIN_SIZE: i64 = 23 * 1024 * 1024;
const MAX_SIZE_PER_CONTAINER: i64 = 1000 * 1024 * 1024;

/// Ranks by the sizes of images present, less for images that few nodes have.
pub struct ImageLocality;

/// The name under which nodes report an image: with a tag or digest.
fn normalized(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || last.contains('@') { image.to_owned() } else { format!("{image}:latest") }
}

impl Plugin for ImageLocality {
    fn name(&self) -> &'static str {
        NAME
    }

    fn score<'a>(&'a self, cycle: &'a Cycle<'a>, feasible: &'a [Arc<NodeInfo>]) -> Score<'a> {
        // With one node there is nothing to prefer.
        let Some(spec) = cycle.pod.pod.spec.as_ref().filter(|_| feasible.len() > 1) else { return Score::Skip };
        let containers: Vec<&Container> = spec.init_containers.iter().flatten().chain(&spec.containers).collect();
        let images = containers.iter().filter_map(|container| container.image.as_deref()).map(normalized);
        let nodes = cycle.snapshot.nodes.len().max(1) as f64;
        let spread = |image: &String| {
            cycle.snapshot.nodes.iter().filter(|node| node.images.contains_key(image)).count() as f64 / nodes
        };
        let images: Vec<(String, f64)> = images.map(|image| (image.clone(), spread(&image))).collect();
        let max_size = MAX_SIZE_PER_CONTAINER * containers.len().max(1) as i64;
        Score::each(Normalize::None, move |node| {
            let present =
                images.iter().filter_map(|(image, spread)| node.images.get(image).map(|size| (*size, spread)));
            let sum: i64 = present.map(|(size, spread)| (size as f64 * spread) as i64).sum();
            MAX_NODE_SCORE * (sum.clamp(MIN_SIZE, max_size) - MIN_SIZE) / (max_size - MIN_SIZE)
        })
    }
}
