//! Questions and answers as tables.

use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};

use super::*;
use crate::zone::SliceRecord;

fn service(name: &str, spec: ServiceSpec) -> (ObjectKey, Option<ServiceRecord>) {
    let service = Service { spec: Some(spec), ..Service::default() };
    (ObjectKey::new("default", name), ServiceRecord::of(&service))
}

fn port(name: &str, protocol: &str, port: i32) -> ServicePort {
    let (name, protocol) = (Some(name.to_owned()), Some(protocol.to_owned()));
    ServicePort { name, protocol, port, ..ServicePort::default() }
}

fn slice(service: &str, endpoints: &[(&str, Option<&str>, bool)]) -> (ObjectKey, Option<SliceRecord>) {
    let endpoint = |(address, hostname, ready): &(&str, Option<&str>, bool)| Endpoint {
        addresses: vec![(*address).to_owned()],
        hostname: hostname.map(str::to_owned),
        conditions: Some(EndpointConditions { ready: Some(*ready), ..EndpointConditions::default() }),
        ..Endpoint::default()
    };
    let named = EndpointPort {
        name: Some("http".into()),
        protocol: Some("TCP".into()),
        port: Some(8080),
        ..EndpointPort::default()
    };
    let mut object = EndpointSlice {
        address_type: "IPv4".into(),
        endpoints: Some(endpoints.iter().map(endpoint).collect()),
        ports: Some(vec![named]),
        ..EndpointSlice::default()
    };
    object.metadata.namespace = Some("default".into());
    object.metadata.labels = Some([("kubernetes.io/service-name".to_owned(), service.to_owned())].into());
    (ObjectKey::new("default", format!("{service}-1")), SliceRecord::of(&object))
}

pub(crate) fn zone() -> Zone {
    let mut zone = Zone::new("cluster.local", vec![Ipv4Addr::new(10, 96, 0, 10).into()], 30);
    let mut add = |(key, record)| zone.set_service(key, record);
    add(service(
        "web",
        ServiceSpec {
            cluster_ip: Some("10.96.1.1".into()),
            cluster_ips: Some(vec!["10.96.1.1".into(), "fd00::1".into()]),
            ports: Some(vec![port("http", "TCP", 80), port("dns", "UDP", 53)]),
            ..ServiceSpec::default()
        },
    ));
    let headless = || ServiceSpec { cluster_ip: Some("None".into()), ..ServiceSpec::default() };
    add(service("db", headless()));
    add(service("none", headless()));
    add(service("early", ServiceSpec { publish_not_ready_addresses: Some(true), ..headless() }));
    let alias = |target: &str| ServiceSpec {
        type_: Some("ExternalName".into()),
        external_name: Some(target.into()),
        ..ServiceSpec::default()
    };
    add(service("outside", alias("www.example.com")));
    add(service("other", alias("web.default.svc.cluster.local.")));
    let mut add = |(key, record)| zone.set_slice(key, record);
    add(slice("web", &[("10.244.0.9", None, true)]));
    add(slice("db", &[("10.244.0.2", Some("db-0"), true), ("10.244.0.3", None, true), ("10.244.0.4", None, false)]));
    add(slice("early", &[("10.244.0.5", Some("early-0"), false)]));
    zone
}

fn show(answer: &Answer) -> String {
    let records = |records: &[Record]| records.iter().map(Record::to_string).collect::<Vec<_>>().join("\n");
    match answer {
        Answer::Records { answers, additionals } if additionals.is_empty() => records(answers),
        Answer::Records { answers, additionals } => format!("{}\n+ {}", records(answers), records(additionals)),
        Answer::Alias { record, .. } => format!("{record} ..."),
        other => format!("{other:?}"),
    }
}

fn check(zone: &Zone, questions: &str, expected: Expect) {
    let mut text = String::new();
    for question in questions.split_whitespace() {
        let (kind, name) = question.split_once('/').expect("TYPE/name");
        let name = Name::from_ascii(format!("{name}.")).expect("a name");
        let kind = kind.parse().expect("a type");
        text += &format!("{question}\n{}\n\n", show(&zone.answer(&name, kind)));
    }
    expected.assert_eq(&text);
}

#[test]
fn services_with_addresses() {
    check(
        &zone(),
        "A/web.default.svc.cluster.local AAAA/web.default.svc.cluster.local A/WEB.Default.svc.cluster.LOCAL
         TXT/web.default.svc.cluster.local SRV/_http._tcp.web.default.svc.cluster.local
         SRV/_dns._udp.web.default.svc.cluster.local SRV/_http._udp.web.default.svc.cluster.local
         A/_http._tcp.web.default.svc.cluster.local SRV/_tcp.web.default.svc.cluster.local
         A/10-244-0-9.web.default.svc.cluster.local A/absent.web.default.svc.cluster.local
         A/absent.default.svc.cluster.local A/web.absent.svc.cluster.local",
        expect![[r#"
            A/web.default.svc.cluster.local
            web.default.svc.cluster.local. 30 IN A 10.96.1.1

            AAAA/web.default.svc.cluster.local
            web.default.svc.cluster.local. 30 IN AAAA fd00::1

            A/WEB.Default.svc.cluster.LOCAL
            WEB.Default.svc.cluster.LOCAL. 30 IN A 10.96.1.1

            TXT/web.default.svc.cluster.local
            NoData

            SRV/_http._tcp.web.default.svc.cluster.local
            _http._tcp.web.default.svc.cluster.local. 30 IN SRV 0 100 80 web.default.svc.cluster.local.
            + web.default.svc.cluster.local. 30 IN A 10.96.1.1
            web.default.svc.cluster.local. 30 IN AAAA fd00::1

            SRV/_dns._udp.web.default.svc.cluster.local
            _dns._udp.web.default.svc.cluster.local. 30 IN SRV 0 100 53 web.default.svc.cluster.local.
            + web.default.svc.cluster.local. 30 IN A 10.96.1.1
            web.default.svc.cluster.local. 30 IN AAAA fd00::1

            SRV/_http._udp.web.default.svc.cluster.local
            NoName

            A/_http._tcp.web.default.svc.cluster.local
            NoData

            SRV/_tcp.web.default.svc.cluster.local
            NoData

            A/10-244-0-9.web.default.svc.cluster.local
            10-244-0-9.web.default.svc.cluster.local. 30 IN A 10.244.0.9

            A/absent.web.default.svc.cluster.local
            NoName

            A/absent.default.svc.cluster.local
            NoName

            A/web.absent.svc.cluster.local
            NoName

        "#]],
    );
}

#[test]
fn headless_services_are_their_endpoints() {
    check(
        &zone(),
        "A/db.default.svc.cluster.local AAAA/db.default.svc.cluster.local A/db-0.db.default.svc.cluster.local
         A/10-244-0-3.db.default.svc.cluster.local A/10-244-0-4.db.default.svc.cluster.local
         SRV/_http._tcp.db.default.svc.cluster.local A/none.default.svc.cluster.local
         A/early.default.svc.cluster.local A/early-0.early.default.svc.cluster.local",
        expect![[r#"
            A/db.default.svc.cluster.local
            db.default.svc.cluster.local. 30 IN A 10.244.0.2
            db.default.svc.cluster.local. 30 IN A 10.244.0.3

            AAAA/db.default.svc.cluster.local
            NoData

            A/db-0.db.default.svc.cluster.local
            db-0.db.default.svc.cluster.local. 30 IN A 10.244.0.2

            A/10-244-0-3.db.default.svc.cluster.local
            10-244-0-3.db.default.svc.cluster.local. 30 IN A 10.244.0.3

            A/10-244-0-4.db.default.svc.cluster.local
            NoName

            SRV/_http._tcp.db.default.svc.cluster.local
            _http._tcp.db.default.svc.cluster.local. 30 IN SRV 0 50 8080 db-0.db.default.svc.cluster.local.
            _http._tcp.db.default.svc.cluster.local. 30 IN SRV 0 50 8080 10-244-0-3.db.default.svc.cluster.local.
            + db-0.db.default.svc.cluster.local. 30 IN A 10.244.0.2
            10-244-0-3.db.default.svc.cluster.local. 30 IN A 10.244.0.3

            A/none.default.svc.cluster.local
            NoName

            A/early.default.svc.cluster.local
            early.default.svc.cluster.local. 30 IN A 10.244.0.5

            A/early-0.early.default.svc.cluster.local
            early-0.early.default.svc.cluster.local. 30 IN A 10.244.0.5

        "#]],
    );
}

#[test]
fn external_names_lead_on() {
    check(
        &zone(),
        "A/outside.default.svc.cluster.local CNAME/outside.default.svc.cluster.local
         AAAA/other.default.svc.cluster.local A/below.outside.default.svc.cluster.local",
        expect![[r#"
            A/outside.default.svc.cluster.local
            outside.default.svc.cluster.local. 30 IN CNAME www.example.com. ...

            CNAME/outside.default.svc.cluster.local
            outside.default.svc.cluster.local. 30 IN CNAME www.example.com.

            AAAA/other.default.svc.cluster.local
            other.default.svc.cluster.local. 30 IN CNAME web.default.svc.cluster.local. ...

            A/below.outside.default.svc.cluster.local
            NoName

        "#]],
    );
}

#[test]
fn pods_by_their_address() {
    check(
        &zone(),
        "A/10-244-0-7.default.pod.cluster.local AAAA/10-244-0-7.default.pod.cluster.local
         AAAA/fd00--7.default.pod.cluster.local A/10-244-0.default.pod.cluster.local
         A/default.pod.cluster.local",
        expect![[r#"
            A/10-244-0-7.default.pod.cluster.local
            10-244-0-7.default.pod.cluster.local. 30 IN A 10.244.0.7

            AAAA/10-244-0-7.default.pod.cluster.local
            NoData

            AAAA/fd00--7.default.pod.cluster.local
            fd00--7.default.pod.cluster.local. 30 IN AAAA fd00::7

            A/10-244-0.default.pod.cluster.local
            NoName

            A/default.pod.cluster.local
            NoData

        "#]],
    );
}

#[test]
fn the_zone_itself() {
    check(
        &zone(),
        "SOA/cluster.local NS/cluster.local A/cluster.local TXT/dns-version.cluster.local A/ns.dns.cluster.local
         A/svc.cluster.local A/default.svc.cluster.local A/absent.svc.cluster.local A/absent.cluster.local",
        expect![[r#"
            SOA/cluster.local
            cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5

            NS/cluster.local
            cluster.local. 30 IN NS ns.dns.cluster.local.
            + ns.dns.cluster.local. 30 IN A 10.96.0.10

            A/cluster.local
            NoData

            TXT/dns-version.cluster.local
            dns-version.cluster.local. 30 IN TXT 1.1.0

            A/ns.dns.cluster.local
            ns.dns.cluster.local. 30 IN A 10.96.0.10

            A/svc.cluster.local
            NoData

            A/default.svc.cluster.local
            NoData

            A/absent.svc.cluster.local
            NoName

            A/absent.cluster.local
            NoName

        "#]],
    );
}

#[test]
fn addresses_by_their_owners() {
    check(
        &zone(),
        "PTR/1.1.96.10.in-addr.arpa A/1.1.96.10.in-addr.arpa PTR/2.0.244.10.in-addr.arpa PTR/3.0.244.10.in-addr.arpa
         PTR/4.0.244.10.in-addr.arpa PTR/9.9.96.10.in-addr.arpa PTR/96.10.in-addr.arpa
         PTR/1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa",
        expect![[r#"
            PTR/1.1.96.10.in-addr.arpa
            1.1.96.10.in-addr.arpa. 30 IN PTR web.default.svc.cluster.local.

            A/1.1.96.10.in-addr.arpa
            NoData

            PTR/2.0.244.10.in-addr.arpa
            2.0.244.10.in-addr.arpa. 30 IN PTR db-0.db.default.svc.cluster.local.

            PTR/3.0.244.10.in-addr.arpa
            3.0.244.10.in-addr.arpa. 30 IN PTR 10-244-0-3.db.default.svc.cluster.local.

            PTR/4.0.244.10.in-addr.arpa
            NotOurs

            PTR/9.9.96.10.in-addr.arpa
            NotOurs

            PTR/96.10.in-addr.arpa
            NotOurs

            PTR/1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa
            1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa. 30 IN PTR web.default.svc.cluster.local.

        "#]],
    );
}

#[test]
fn names_of_others_are_not_answered() {
    check(
        &zone(),
        "A/www.example.com A/local A/xcluster.local A/cluster.local.example.com",
        expect![[r#"
        A/www.example.com
        NotOurs

        A/local
        NotOurs

        A/xcluster.local
        NotOurs

        A/cluster.local.example.com
        NotOurs

    "#]],
    );
}

#[test]
fn what_goes_is_forgotten() {
    let mut zone = zone();
    for name in ["web", "db", "none", "early", "outside", "other"] {
        zone.set_service(ObjectKey::new("default", name), None);
        zone.set_slice(ObjectKey::new("default", format!("{name}-1")), None);
    }
    check(
        &zone,
        "A/web.default.svc.cluster.local A/db-0.db.default.svc.cluster.local PTR/1.1.96.10.in-addr.arpa
         PTR/2.0.244.10.in-addr.arpa A/default.svc.cluster.local",
        expect![[r#"
            A/web.default.svc.cluster.local
            NoName

            A/db-0.db.default.svc.cluster.local
            NoName

            PTR/1.1.96.10.in-addr.arpa
            NotOurs

            PTR/2.0.244.10.in-addr.arpa
            NotOurs

            A/default.svc.cluster.local
            NoName

        "#]],
    );
}
