//! Ingresses, network policies and their kin (upstream: pkg/apis/networking/v1/defaults.go, pkg/apis/networking/validation).

mod addresses;
mod ingress;
mod policy;

pub(crate) use addresses::{IpAddress, ServiceCidr};
pub(crate) use ingress::{Ingress, IngressClass};
pub(crate) use policy::NetworkPolicy;
