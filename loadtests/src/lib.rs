//! Open-loop load, scenarios and faults against real Headgate processes
