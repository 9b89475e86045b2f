//! Roles and databases that the spec wants to exist before the endpoint counts as running.

use anyhow::Context;
use postgres_client::Client;

use crate::spec::{Cluster, Database, Role};

/// Creates what is missing; what exists is left alone but for a role's password.
pub async fn apply(client: &mut Client, cluster: &Cluster) -> anyhow::Result<()> {
    for role in &cluster.roles {
        let existing = format!("select 1 from pg_roles where rolname = {}", literal(&role.name));
        let exists = !client.simple_query(&existing).await?.is_empty();
        let name = &role.name;
        client
            .simple_query(&role_command(role, exists))
            .await
            .with_context(|| format!("cannot set up role {name:?}"))?;
    }
    for database in &cluster.databases {
        let name = &database.name;
        let existing = format!("select 1 from pg_database where datname = {}", literal(name));
        if client.simple_query(&existing).await?.is_empty() {
            client
                .simple_query(&database_command(database))
                .await
                .with_context(|| format!("cannot create database {name:?}"))?;
        }
    }
    Ok(())
}

fn role_command(role: &Role, exists: bool) -> String {
    let verb = if exists { "alter" } else { "create" };
    let password = role.encrypted_password.as_deref().map(|password| {
        // Launchers give MD5 hashes without their prefix.
        let is_md5 = password.len() == 32 && password.bytes().all(|b| b.is_ascii_hexdigit());
        let stored = if is_md5 { format!("md5{password}") } else { password.to_owned() };
        format!(" password {}", literal(&stored))
    });
    format!("{verb} role {} login{}", identifier(&role.name), password.unwrap_or_default())
}

fn database_command(database: &Database) -> String {
    format!("create database {} owner {}", identifier(&database.name), identifier(&database.owner))
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    let escaped = text.replace('\'', "''").replace('\\', "\\\\");
    // The E form reads backslashes the same way whatever the session's settings are.
    format!("E'{escaped}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_passwords_are_quoted() {
        let role = Role { name: r#"a"b"#.into(), encrypted_password: Some(r"p'\".into()) };
        assert_eq!(role_command(&role, false), r#"create role "a""b" login password E'p''\\'"#);
    }

    #[test]
    fn a_bare_md5_hash_gets_its_prefix() {
        let hash = "0123456789abcdef0123456789abcdef";
        let role = Role { name: "r".into(), encrypted_password: Some(hash.into()) };
        assert!(role_command(&role, true).ends_with(&format!("E'md5{hash}'")));
    }
}
