//! A QR code as a picture or as text.

use crate::http::problem::Problem;
use qrcode::render::svg::Color as SvgColor;
use qrcode::render::unicode::Dense1x2;
use qrcode::{Color, QrCode};

/// Pixels of one module, and modules of the margin.
const SCALE: usize = 8;
const MARGIN: usize = 4;

fn encode(code: &str) -> Result<QrCode, Problem> {
    QrCode::new(code).map_err(|error| Problem::new(500, "internal", error.to_string()))
}

pub(super) fn svg(code: &str) -> Result<String, Problem> {
    Ok(encode(code)?.render::<SvgColor<'_>>().min_dimensions(300, 300).build())
}

/// Block characters. Most terminals are dark, so light modules are drawn and dark ones left out.
pub(super) fn text(code: &str) -> Result<String, Problem> {
    let qr = encode(code)?;
    let mut text = qr.render::<Dense1x2>();
    Ok(text.dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build() + "\n")
}

/// A grey picture, one byte a pixel.
pub(super) fn png(code: &str) -> Result<Vec<u8>, Problem> {
    let qr = encode(code)?;
    let modules = qr.to_colors();
    let side = qr.width();
    let pixels = (side + 2 * MARGIN) * SCALE;
    let mut image = vec![0xff_u8; pixels * pixels];
    for y in 0..side * SCALE {
        for x in 0..side * SCALE {
            if modules[(y / SCALE) * side + x / SCALE] == Color::Dark {
                image[(y + MARGIN * SCALE) * pixels + x + MARGIN * SCALE] = 0;
            }
        }
    }
    let failed = |error: png::EncodingError| Problem::new(500, "internal", error.to_string());
    let size = u32::try_from(pixels).unwrap_or(u32::MAX);
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, size, size);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(&image).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(out)
}
