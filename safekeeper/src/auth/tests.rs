use super::*;

fn claims(tenant_id: Option<TenantId>, scope: Scope) -> Claims {
    Claims::new(tenant_id, scope)
}

#[test]
fn without_token_checks_everything_is_permitted() {
    assert_eq!(check_tenant(None, TenantId::generate()), Ok(()));
    assert_eq!(check_node(None), Ok(()));
}

#[test]
fn a_safekeeper_token_permits_everything() {
    let token = claims(None, Scope::SafekeeperData);
    assert_eq!(check_tenant(Some(&token), TenantId::generate()), Ok(()));
    assert_eq!(check_node(Some(&token)), Ok(()));
}

#[test]
fn a_tenant_token_permits_only_its_tenant() {
    let own = TenantId::generate();
    let token = claims(Some(own), Scope::Tenant);
    assert_eq!(check_tenant(Some(&token), own), Ok(()));
    assert!(check_tenant(Some(&token), TenantId::generate()).is_err());
    assert_eq!(check_node(Some(&token)), Err(PermissionError::NodeWide));
}

#[test]
fn a_tenant_token_without_a_tenant_permits_nothing() {
    let token = claims(None, Scope::Tenant);
    let refused = check_tenant(Some(&token), TenantId::generate());
    assert_eq!(refused, Err(PermissionError::NoTenant));
}

#[test]
fn tokens_for_other_services_permit_nothing() {
    for scope in [Scope::PageServerApi, Scope::GenerationsApi, Scope::Admin] {
        let token = claims(None, scope);
        assert!(check_tenant(Some(&token), TenantId::generate()).is_err());
        assert!(check_node(Some(&token)).is_err());
    }
}
