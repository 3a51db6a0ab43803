//! The users.

use serde::Serialize;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::Store;

pub(super) const TABLE: &str = "CREATE TABLE IF NOT EXISTS users (id GROWING_KEY, name TEXT, email TEXT)";

pub(super) const FIRST_ROWS: &str = "INSERT INTO users (name, email) \
    SELECT name, email FROM (SELECT 1 AS id, 'Alice' AS name, 'alice@example.com' AS email \
    UNION ALL SELECT 2, 'Bob', 'bob@example.com') AS first_users \
    WHERE NOT EXISTS (SELECT 1 FROM users) ORDER BY id";

/// One user. The id is a number, written as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    /// `"1"`, `"2"`, …
    pub id: String,
    /// The name, if one was given.
    pub name: Option<String>,
    /// The address, if one was given.
    pub email: Option<String>,
}

impl User {
    fn from_row(row: &AnyRow) -> Result<User, sqlx::Error> {
        Ok(User { id: row.try_get::<i64, _>(0)?.to_string(), name: row.try_get(1)?, email: row.try_get(2)? })
    }
}

impl Store {
    /// All users, oldest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn users(&self) -> Result<Vec<User>, sqlx::Error> {
        let rows = sqlx::query("SELECT id, name, email FROM users ORDER BY id").fetch_all(&self.pool).await?;
        rows.iter().map(User::from_row).collect()
    }

    /// The user with this id; none when the text is no number.
    ///
    /// # Errors
    /// The store failed.
    pub async fn user(&self, id: &str) -> Result<Option<User>, sqlx::Error> {
        let Ok(id) = id.parse::<i64>() else { return Ok(None) };
        let query = sqlx::query("SELECT id, name, email FROM users WHERE id = $1").bind(id);
        query.fetch_optional(&self.pool).await?.as_ref().map(User::from_row).transpose()
    }

    /// Adds a user and gives it the next id.
    ///
    /// # Errors
    /// The store failed.
    pub async fn add_user(&self, name: Option<&str>, email: Option<&str>) -> Result<User, sqlx::Error> {
        let query = sqlx::query("INSERT INTO users (name, email) VALUES ($1, $2) RETURNING id, name, email")
            .bind(name.map(str::to_owned))
            .bind(email.map(str::to_owned));
        User::from_row(&query.fetch_one(&self.pool).await?)
    }
}
