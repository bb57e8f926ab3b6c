//! What is measured as it goes, for a terminal. Drawing is a function of what was measured and of the room there is.

mod figures;
mod machine;
mod notes;
mod trend;
mod window;

use ratatui::{buffer::Buffer, layout::Rect};

pub use self::{
    machine::{MachineView, Rows},
    window::WindowView,
};

/// Something to look at while it changes.
pub trait View {
    /// Draws it into as much room as there is.
    fn draw(&self, area: Rect, buffer: &mut Buffer);

    /// Lines of this width that show all of it; `None`: there has been no time for anything to happen.
    fn height(&self, width: u16) -> Option<u16>;

    /// The last interval for programs, in a line; nothing if there was none yet.
    fn json(&self) -> String;
}

/// The last interval as text, all of it; nothing if there was none yet.
#[must_use]
pub fn text(view: &impl View, width: u16) -> String {
    let Some(height) = view.height(width) else { return String::new() };
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    view.draw(area, &mut buffer);
    let mut text = String::new();
    for row in area.rows() {
        let line: String = row.columns().map(|cell| buffer[cell].symbol()).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A line of JSON.
fn line(value: &impl serde::Serialize) -> String {
    // Strings and numbers: there is nothing that could not be written.
    serde_json::to_string(value).map_or_else(|_| String::new(), |text| text + "\n")
}
