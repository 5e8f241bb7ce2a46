mod calls;
mod every_view;
mod people;
mod support;
mod traffic;
