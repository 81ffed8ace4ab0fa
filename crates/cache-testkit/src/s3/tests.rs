mod faults;
mod protocol;
