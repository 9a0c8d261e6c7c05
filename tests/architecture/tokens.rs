//! Rust source as words and signs, without comments, strings, characters, numbers and lifetimes.

/// One word or sign and the line it stands on (from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// An identifier or keyword, `::`, or one other character.
    pub(crate) text: String,
    /// Its line.
    pub(crate) line: usize,
}

impl Token {
    /// Whether it is an identifier or a keyword.
    pub(crate) fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// What remains of a source when comments and literals are taken away.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer { chars: source.chars().collect(), at: 0, line: 1, found: Vec::new() };
    while let Some(c) = lexer.peek(0) {
        lexer.next(c);
    }
    lexer.found
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
    found: Vec<Token>,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.line += usize::from(self.peek(0) == Some('\n'));
            self.at += 1;
        }
    }

    fn emit(&mut self, text: String) {
        self.found.push(Token { text, line: self.line });
    }

    fn next(&mut self, c: char) {
        match (c, self.peek(1)) {
            ('/', Some('/')) => self.skip_while(|c| c != '\n'),
            ('/', Some('*')) => self.block_comment(),
            ('"', _) => self.string(),
            ('\'', _) => self.character_or_lifetime(),
            (':', Some(':')) => {
                self.emit("::".to_owned());
                self.skip(2);
            }
            (c, _) if c.is_alphabetic() || c == '_' => self.word(),
            (c, _) if c.is_ascii_digit() => self.skip_while(is_word_char),
            (c, _) => {
                if !c.is_whitespace() {
                    self.emit(c.to_string());
                }
                self.skip(1);
            }
        }
    }

    fn skip_while(&mut self, keep: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&keep) {
            self.skip(1);
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.peek(0).is_some() {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => {
                    depth += 1;
                    self.skip(2);
                }
                (Some('*'), Some('/')) => {
                    depth -= 1;
                    self.skip(2);
                }
                _ => self.skip(1),
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.skip(1);
        while let Some(c) = self.peek(0) {
            self.skip(if c == '\\' { 2 } else { 1 });
            if c == '"' {
                return;
            }
        }
    }

    fn character_or_lifetime(&mut self) {
        if self.peek(1) == Some('\\') {
            self.skip(3);
            self.skip_while(|c| c != '\'');
            self.skip(1);
        } else if self.peek(2) == Some('\'') {
            self.skip(3);
        } else {
            self.skip(1);
            self.skip_while(is_word_char);
        }
    }

    fn word(&mut self) {
        let word: String = self.chars.iter().skip(self.at).take_while(|c| is_word_char(**c)).collect();
        let after = self.peek(word.chars().count());
        match (word.as_str(), after) {
            ("r" | "br" | "cr", Some('"' | '#')) => self.raw(word.len()),
            ("b" | "c", Some('"')) => {
                self.skip(1);
                self.string();
            }
            ("b", Some('\'')) => {
                self.skip(1);
                self.character_or_lifetime();
            }
            _ => {
                let length = word.chars().count();
                self.emit(word);
                self.skip(length);
            }
        }
    }

    /// `r"…"`, `r#"…"#`, or the raw identifier `r#name`.
    fn raw(&mut self, prefix: usize) {
        self.skip(prefix);
        let hashes = self.chars.iter().skip(self.at).take_while(|c| **c == '#').count();
        self.skip(hashes);
        if self.peek(0) != Some('"') {
            return;
        }
        self.skip(1);
        while let Some(c) = self.peek(0) {
            self.skip(1);
            if c == '"' && (0..hashes).all(|ahead| self.peek(ahead) == Some('#')) {
                self.skip(hashes);
                return;
            }
        }
    }
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::tokens;

    fn words(source: &str) -> String {
        tokens(source).iter().map(|token| token.text.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_and_literals_vanish() {
        for (source, expected) in [
            ("a // tokio::x\nb", "a b"),
            ("a /* x /* y */ z */ b", "a b"),
            (r#"a "tokio \" x" b"#, "a b"),
            (r##"a r#"tokio " x"# b"##, "a b"),
            (r#"a br"x" b"x" c"x" b'x' b"#, "a b"),
            (r"a '\'' 'x' '\u{1F600}' b", "a b"),
            ("fn f<'a>(x: &'a str)", "fn f < > ( x : & str )"),
            ("r#type::b", "type :: b"),
            ("1_000u64..n", ". . n"),
            ("\"unterminated", ""),
            ("/* unterminated", ""),
            ("'", ""),
        ] {
            assert_eq!(words(source), expected, "{source}");
        }
    }

    #[test]
    fn lines_are_counted_through_literals() {
        let found = tokens("a\n\"x\ny\"\n/*\n*/ b");
        assert_eq!(found.iter().map(|token| token.line).collect::<Vec<_>>(), [1, 5]);
    }
}
