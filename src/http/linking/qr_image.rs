//! A QR code as a PNG file.

use crate::http::problem::Problem;
use qrcode::{Color, QrCode};

/// Pixels of one module, and modules of the margin.
const SCALE: usize = 8;

const MARGIN: usize = 4;

/// A black-and-white picture, one byte a pixel.
pub(in crate::http) fn png(qr: &QrCode) -> Result<Vec<u8>, Problem> {
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
