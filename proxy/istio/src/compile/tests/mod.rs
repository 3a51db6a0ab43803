//! Tests of the compiler, through the text that people write.
