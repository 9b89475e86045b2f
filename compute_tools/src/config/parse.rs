//! The syntax of postgresql.conf.

/// One `name = value` line. Names are lower case, values are without quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfSetting {
    /// Parameter name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// A line that PostgreSQL would not understand either.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line} of the spec's postgresql.conf is wrong: {reason}: {text:?}")]
pub struct ConfError {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub reason: &'static str,
    /// The line.
    pub text: String,
}

/// Reads the settings of a postgresql.conf, in order; comments and blank lines vanish.
/// Include directives are refused: the files they name are not part of the spec.
pub fn parse_conf(text: &str) -> Result<Vec<ConfSetting>, ConfError> {
    let mut settings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let parsed = parse_line(line).map_err(|reason| ConfError {
            line: index + 1,
            reason,
            text: line.to_owned(),
        })?;
        settings.extend(parsed);
    }
    Ok(settings)
}

fn parse_line(line: &str) -> Result<Option<ConfSetting>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$');
    let end = line.find(|c| !is_name(c)).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return Err("it does not begin with a parameter name");
    }
    let name = name.to_ascii_lowercase();
    if matches!(name.as_str(), "include" | "include_if_exists" | "include_dir") {
        return Err("include directives are not supported in a spec");
    }
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest).trim_start();
    let value = match rest.strip_prefix('\'') {
        Some(quoted) => parse_quoted(quoted)?,
        None => parse_bare(rest)?,
    };
    Ok(Some(ConfSetting { name, value }))
}

fn parse_bare(text: &str) -> Result<String, &'static str> {
    let value = text.split('#').next().unwrap_or_default().trim();
    if value.is_empty() {
        return Err("it has no value");
    }
    if value.contains(|c: char| c.is_whitespace() || c == '\'') {
        return Err("its value has blanks or quotes and must stand in single quotes");
    }
    Ok(value.to_owned())
}

fn parse_quoted(text: &str) -> Result<String, &'static str> {
    let mut value = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\'' if characters.peek() == Some(&'\'') => {
                characters.next();
                value.push('\'');
            }
            '\'' => {
                let rest: String = characters.collect();
                let rest = rest.trim_start();
                let only_comment = rest.is_empty() || rest.starts_with('#');
                return if only_comment { Ok(value) } else { Err("text follows its value") };
            }
            '\\' => value.push(parse_escape(&mut characters)?),
            other => value.push(other),
        }
    }
    Err("its value lacks the closing quote")
}

fn parse_escape(
    characters: &mut std::iter::Peekable<std::str::Chars<'_>>,
) -> Result<char, &'static str> {
    const MAX_OCTAL_DIGITS: usize = 3;
    match characters.next().ok_or("its value ends in a backslash")? {
        'b' => Ok('\u{8}'),
        'f' => Ok('\u{c}'),
        'n' => Ok('\n'),
        'r' => Ok('\r'),
        't' => Ok('\t'),
        first @ '0'..='7' => {
            let mut code = first.to_digit(8).unwrap_or_default();
            for _ in 1..MAX_OCTAL_DIGITS {
                let Some(digit) = characters.peek().and_then(|c| c.to_digit(8)) else { break };
                code = code * 8 + digit;
                characters.next();
            }
            char::from_u32(code).ok_or("its value has an impossible octal escape")
        }
        other => Ok(other),
    }
}

/// A value as it stands in postgresql.conf: bare when that is unambiguous, else quoted.
pub fn quote_value(value: &str) -> String {
    let unsigned = value.strip_prefix(['+', '-']).unwrap_or(value);
    let digits = unsigned.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_number =
        digits.len() < unsigned.len() && digits.chars().all(|c| c.is_ascii_alphabetic());
    let is_word = value.starts_with(|c: char| c.is_ascii_alphabetic())
        && value.chars().all(|c| c.is_ascii_alphanumeric());
    if is_number || is_word {
        return value.to_owned();
    }
    let escaped = value.replace('\\', "\\\\").replace('\n', "\\n").replace('\'', "''");
    format!("'{escaped}'")
}

#[cfg(test)]
mod tests;
