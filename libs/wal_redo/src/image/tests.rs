use super::*;

fn image(bytes: &[u8], hole: (u16, u16), compression: ImageCompression) -> BlockImage<'_> {
    let (hole_offset, hole_length) = hole;
    BlockImage { bytes, hole_offset, hole_length, compression, apply: true }
}

fn sample() -> Vec<u8> {
    (0..BLCKSZ - 1000).map(|i| (i / 100) as u8).collect()
}

fn assert_restores(bytes: Vec<u8>, compression: ImageCompression) {
    let page = restore(&image(&bytes, (500, 1000), compression)).unwrap();
    assert_eq!(page[..500], sample()[..500]);
    assert_eq!(page[500..1500], [0; 1000]);
    assert_eq!(page[1500..], sample()[500..]);
}

#[test]
fn an_uncompressed_image_gets_its_hole_back() {
    assert_restores(sample(), ImageCompression::None);
}

#[test]
fn an_lz4_image_is_decompressed() {
    assert_restores(lz4_flex::block::compress(&sample()), ImageCompression::Lz4);
}

#[test]
fn a_zstd_image_is_decompressed() {
    assert_restores(zstd::bulk::compress(&sample(), 3).unwrap(), ImageCompression::Zstd);
}

#[test]
fn a_pglz_image_of_literals_and_matches_is_decompressed() {
    // One literal zero, then matches of distance 1: 273 bytes each, and a clipped last one.
    let mut stream = Vec::new();
    let mut produced = 1;
    stream.extend([0b1111_1110, 0x00]);
    let mut in_group = 1;
    while produced < BLCKSZ {
        if in_group == 8 {
            stream.push(0xFF);
            in_group = 0;
        }
        stream.extend([0x0F, 0x01, 0xFF]);
        in_group += 1;
        produced += 273;
    }
    let page = restore(&image(&stream, (0, 0), ImageCompression::Pglz)).unwrap();
    assert_eq!(*page, [0; BLCKSZ]);
}

#[test]
fn a_pglz_match_before_the_beginning_is_refused() {
    let stream = vec![0b0000_0001, 0x00, 0x05];
    let result = restore(&image(&stream, (0, 0), ImageCompression::Pglz));
    assert_eq!(result, Err(ImageError::Corrupt(ImageCompression::Pglz)));
}

#[test]
fn surplus_pglz_input_is_refused() {
    let mut stream = vec![0b0000_0010, 7];
    stream.extend([0x0F, 0x01, 0xFF]);
    let wanted = 8;
    let hole = (0, (BLCKSZ - wanted) as u16);
    stream.push(9);
    let result = restore(&image(&stream, hole, ImageCompression::Pglz));
    assert_eq!(result, Err(ImageError::Corrupt(ImageCompression::Pglz)));
}

#[test]
fn a_hole_outside_the_page_is_refused() {
    let result = restore(&image(&[0; 192], (8000, 8000), ImageCompression::None));
    assert_eq!(result, Err(ImageError::BadHole { offset: 8000, length: 8000 }));
}

#[test]
fn an_image_of_the_wrong_length_is_refused() {
    let result = restore(&image(&[0; 100], (0, 0), ImageCompression::None));
    assert_eq!(result, Err(ImageError::WrongLength { wanted: BLCKSZ, found: 100 }));
}
