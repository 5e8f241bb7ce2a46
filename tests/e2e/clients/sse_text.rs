//! The text/event-stream format, as the HTML standard reads it.

#[derive(Default, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Block {
    pub(crate) id: Option<String>,
    pub(crate) event: Option<String>,
    pub(crate) data: Option<String>,
    pub(crate) retry: Option<String>,
    pub(crate) comment: bool,
}

#[derive(Default)]
pub(crate) struct Parser {
    unread: Vec<u8>,
    block: Block,
}

impl Parser {
    /// Takes bytes as they come and gives the blocks that they end.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Block> {
        self.unread.extend(bytes);
        let mut blocks = Vec::new();
        while let Some(end) = self.unread.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                let block = std::mem::take(&mut self.block);
                blocks.extend((block != Block::default()).then_some(block));
            } else {
                self.line(line);
            }
        }
        blocks
    }

    fn line(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match field {
            "" => self.block.comment = true,
            "id" => self.block.id = Some(value),
            "event" => self.block.event = Some(value),
            "retry" => self.block.retry = Some(value),
            "data" => match &mut self.block.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(&value);
                }
                None => self.block.data = Some(value),
            },
            _ => {}
        }
    }
}

#[test]
fn blocks_are_read_however_they_are_sliced() {
    let text = ": hi\n\nretry: 3000\nid: a\nevent: x\ndata: 1\ndata: 2\n\nid: b\n\n";
    let mut parser = Parser::default();
    let blocks: Vec<_> = text.bytes().flat_map(|byte| parser.feed(&[byte])).collect();
    assert_eq!(blocks.len(), 3);
    assert!(blocks[0].comment);
    assert_eq!(blocks[1].data.as_deref(), Some("1\n2"));
    assert_eq!((blocks[2].id.as_deref(), &blocks[2].data), (Some("b"), &None));
}
