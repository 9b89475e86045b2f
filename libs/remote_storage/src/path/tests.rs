use super::*;

#[test]
fn absolute_and_escaping_paths_are_refused() {
    for path in ["/a", "a/../b", "..", "./a", "a\0b"] {
        assert!(RemotePath::new(path).is_err(), "{path:?}");
    }
}

#[test]
fn the_object_name_is_the_last_component() {
    assert_eq!(RemotePath::new("a/b/c").unwrap().object_name(), "c");
    assert_eq!(RemotePath::new("a/b/").unwrap().object_name(), "b");
    assert_eq!(RemotePath::new("c").unwrap().object_name(), "c");
}
