//! Black-box tests of the platform; everything is under `e2e/`.
