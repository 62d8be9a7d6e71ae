#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| uvws_fuzz::response(data));
