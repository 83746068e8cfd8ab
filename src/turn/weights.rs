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
    -27.0,  // falls_else
    -13.2,  // away_complete
    79.5,   // away_whole
    5.5,    // stretch_complete
    -344.3, // spoken
    126.3,  // spoken_whole
    -308.1, // pauses
    120.0,  // habit
    0.0,    // fluent
    47.3,   // clear
    -101.4, // clear_whole
    731.3,  // sure_incomplete
    10.0,   // sure_complete
    -71.0,  // sure_whole
    -125.0, // sure_one
    319.9,  // unsettled_answer
    98.6,   // unsettled_else
    0.0,    // changed
    -208.8, // rate
    -502.6, // one
    -174.7, // yes_no
    176.1,  // digits
    -241.0, // some_digits
    689.3,  // yes_no_complete
];

/// Where nobody recognises, or has said nothing yet.
pub(super) const NO_WORDS: [f32; 33] = [
    -178.4, // falls
    -110.7, // rises
    -0.0,   // held
    -476.4, // unclear
    190.5,  // away
    -79.2,  // fade
    13.5,   // glide
    -170.7, // stretch
    0.0,    // falls_complete
    0.0,    // falls_else
    0.0,    // away_complete
    0.0,    // away_whole
    0.0,    // stretch_complete
    -179.6, // spoken
    0.0,    // spoken_whole
    -547.5, // pauses
    120.0,  // habit
    54.0,   // fluent
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
    [-372.8, -557.9, -310.4, 0.0],  // unknown
    [-300.4, -334.9, 162.3, 9.6],   // incomplete
    [-301.0, -292.7, 153.5, -57.2], // complete
    [-291.4, -395.0, 31.9, 28.5],   // foreign
    [-337.6, -234.7, 38.3, -56.3],  // whole
];
