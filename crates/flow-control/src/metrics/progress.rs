//! How far levels have come in virtual time: R, S of the requests that were and will be dispatched, and how often R was
//! wound back.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::name;
use crate::queue_set::{Dispatch, Usage};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfLevel {
    priority_level: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfBound {
    priority_level: String,
    bound: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfEpoch {
    priority_level: String,
    success: &'static str,
}

type Reading = fn(&Dispatch) -> f64;

type Bounds = fn(&Dispatch) -> [f64; 2];

const READINGS: [(&str, &str, Reading); 2] = [
    ("dispatch_r", "R(time of last dispatch)", |dispatch| dispatch.r),
    ("latest_s", "S(most recently dispatched request)", |dispatch| dispatch.s),
];

const BOUNDS: [(&str, &str, Bounds); 2] = [
    ("next_s_bounds", "min and max, over queues, of S(oldest waiting request in queue)", |dispatch| dispatch.next),
    (
        "next_discounted_s_bounds",
        "min and max, over queues, of S(oldest waiting request in queue) - estimated work in progress",
        |dispatch| dispatch.discounted,
    ),
];

/// Writes the readings of levels; those of dispatches where there was one, epochs where one ended.
pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>, levels: &[(&str, Usage)]) -> fmt::Result {
    let of = |level: &str| OfLevel { priority_level: level.to_owned() };
    let current = name("current_r");
    let mut metric = encoder.encode_descriptor(&current, "R(time of last change)", None, MetricType::Gauge)?;
    for (level, usage) in levels {
        metric.encode_family(&of(level))?.encode_gauge(&usage.current_r)?;
    }
    let dispatches = || levels.iter().filter_map(|(level, usage)| usage.dispatch.map(|dispatch| (*level, dispatch)));
    for (short, help, read) in READINGS {
        let name = name(short);
        let mut metric = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
        for (level, dispatch) in dispatches() {
            metric.encode_family(&of(level))?.encode_gauge(&read(&dispatch))?;
        }
    }
    for (short, help, read) in BOUNDS {
        let name = name(short);
        let mut metric = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
        for (level, dispatch) in dispatches() {
            for (bound, value) in ["min", "max"].into_iter().zip(read(&dispatch)) {
                let labels = OfBound { priority_level: level.to_owned(), bound };
                metric.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
    }
    let (epochs, help) = (name("epoch_advance"), "Number of times the queueset's progress meter jumped backward");
    let mut metric = encoder.encode_descriptor(&epochs, help, None, MetricType::Counter)?;
    for (level, usage) in levels.iter().filter(|(_, usage)| usage.epochs > 0) {
        let labels = OfEpoch { priority_level: (*level).to_owned(), success: "true" };
        metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&usage.epochs, None)?;
    }
    Ok(())
}
