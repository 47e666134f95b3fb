//! One test a target, so that they run side by side.

macro_rules! targets {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                fuzz::replay(fuzz::find(stringify!($name)).expect("a target"));
            }
        )*

        #[test]
        fn every_target_has_a_test() {
            let tested = [$(stringify!($name)),*];
            assert_eq!(fuzz::TARGETS.iter().map(|target| target.name).collect::<Vec<_>>(), tested);
        }
    };
}

targets! {
    label_selector field_selector quantity duration json yaml object definition json_patch merge_patch strategic_patch
    fields_v1 apply protobuf cbor spdy_frames spdy_headers websocket json_path cel request continue_token kubelet
    image_reference
}
