//! How much each witness weighs, in milliseconds of silence: written by `scripts/fit-turns`.

/// Where somebody recognises.
pub(super) const WORDS: [f32; 33] = [
    -118.8, // falls
    0.0,    // rises
    0.0,    // held
    0.0,    // unclear
    379.0,  // away
    -62.5,  // fade
    0.0,    // glide
    -178.6, // stretch
    8.9,    // falls_complete
    -63.0,  // falls_else
    130.8,  // away_complete
    -64.5,  // away_whole
    5.5,    // stretch_complete
    -344.3, // spoken
    72.3,   // spoken_whole
    -286.5, // pauses
    60.0,   // habit
    0.0,    // fluent
    47.3,   // clear
    -101.4, // clear_whole
    846.5,  // sure_incomplete
    10.0,   // sure_complete
    -71.0,  // sure_whole
    -103.4, // sure_one
    319.9,  // unsettled_answer
    -9.4,   // unsettled_else
    0.0,    // changed
    -172.8, // rate
    -434.2, // one
    -138.7, // yes_no
    176.1,  // digits
    29.0,   // some_digits
    545.3,  // yes_no_complete
];

/// Where nobody recognises, or has said nothing yet.
pub(super) const NO_WORDS: [f32; 33] = [
    -200.0, // falls
    -56.7,  // rises
    -0.0,   // held
    -476.4, // unclear
    222.9,  // away
    -46.8,  // fade
    13.5,   // glide
    -203.1, // stretch
    0.0,    // falls_complete
    0.0,    // falls_else
    0.0,    // away_complete
    0.0,    // away_whole
    0.0,    // stretch_complete
    -179.6, // spoken
    0.0,    // spoken_whole
    -691.5, // pauses
    60.0,   // habit
    -0.0,   // fluent
    -382.4, // clear
    0.0,    // clear_whole
    0.0,    // sure_incomplete
    0.0,    // sure_complete
    0.0,    // sure_whole
    0.0,    // sure_one
    0.0,    // unsettled_answer
    0.0,    // unsettled_else
    0.0,    // changed
    0.0,    // rate
    0.0,    // one
    0.0,    // yes_no
    0.0,    // digits
    0.0,    // some_digits
    0.0,    // yes_no_complete
];

/// What each group says at an average end, by what the words are: ending, habit, doubt, question.
pub(super) const AVERAGE: [[f32; 4]; 5] = [
    [-407.5, -647.5, -310.4, 0.0],  // unknown
    [-318.0, -352.9, 131.5, 9.6],   // incomplete
    [-348.9, -311.4, 158.5, -24.2], // complete
    [-308.5, -413.6, 31.9, 42.9],   // foreign
    [-287.9, -306.8, 38.8, -26.1],  // whole
];
