//! How much each witness weighs, in milliseconds of silence, by what the words are: written by `scripts/fit-turns`.
//!
//! In this order: unknown, incomplete, complete, settled, whole, foreign.

/// The weights, in the order of `Case::witnesses`.
pub(super) const WEIGHTS: [[f32; 24]; 6] = [
    // unknown
    [
        -175.2, // falls
        -152.3, // rises
        -0.0,   // held
        -335.1, // unclear
        266.6,  // away
        -71.9,  // fade
        -1.8,   // glide
        -157.7, // stretch
        -165.6, // spoken
        -486.2, // pauses
        -350.0, // gap
        60.0,   // habit
        0.0,    // fluent
        -264.3, // clear
        0.0,    // sure
        0.0,    // unsettled
        0.0,    // changed
        0.0,    // rate
        0.0,    // one
        0.0,    // yes_no
        0.0,    // digits
        0.0,    // some_digits
        0.0,    // missing
        0.0,    // lacking
    ],
    // incomplete
    [
        -107.3, // falls
        166.5,  // rises
        0.0,    // held
        112.4,  // unclear
        3.9,    // away
        4.4,    // fade
        0.0,    // glide
        -82.5,  // stretch
        -272.6, // spoken
        35.7,   // pauses
        -163.8, // gap
        60.0,   // habit
        0.0,    // fluent
        187.9,  // clear
        254.8,  // sure
        7.5,    // unsettled
        -0.3,   // changed
        -162.0, // rate
        7.4,    // one
        -45.2,  // yes_no
        109.9,  // digits
        -352.4, // some_digits
        112.9,  // missing
        1106.8, // lacking
    ],
    // complete
    [
        -142.1, // falls
        163.9,  // rises
        0.0,    // held
        107.3,  // unclear
        71.0,   // away
        -97.6,  // fade
        0.0,    // glide
        -123.9, // stretch
        -144.4, // spoken
        143.0,  // pauses
        -128.0, // gap
        60.0,   // habit
        0.0,    // fluent
        0.1,    // clear
        62.2,   // sure
        59.1,   // unsettled
        44.8,   // changed
        -127.7, // rate
        -72.8,  // one
        -59.1,  // yes_no
        8.7,    // digits
        -352.5, // some_digits
        4.9,    // missing
        936.7,  // lacking
    ],
    // settled
    [
        -179.0, // falls
        111.7,  // rises
        0.0,    // held
        90.3,   // unclear
        69.1,   // away
        -110.1, // fade
        0.0,    // glide
        -83.0,  // stretch
        -179.6, // spoken
        90.7,   // pauses
        -150.6, // gap
        60.0,   // habit
        0.0,    // fluent
        50.1,   // clear
        30.7,   // sure
        82.3,   // unsettled
        -4.1,   // changed
        -182.9, // rate
        -50.0,  // one
        52.1,   // yes_no
        8.7,    // digits
        -352.7, // some_digits
        -2.5,   // missing
        978.2,  // lacking
    ],
    // whole
    [
        -150.7, // falls
        121.9,  // rises
        0.0,    // held
        8.8,    // unclear
        8.5,    // away
        9.8,    // fade
        0.0,    // glide
        -154.3, // stretch
        -116.3, // spoken
        155.3,  // pauses
        -95.7,  // gap
        60.0,   // habit
        0.0,    // fluent
        -22.0,  // clear
        -131.8, // sure
        161.9,  // unsettled
        126.1,  // changed
        -319.9, // rate
        -200.1, // one
        -128.4, // yes_no
        -2.3,   // digits
        -434.4, // some_digits
        -2.5,   // missing
        1060.3, // lacking
    ],
    // foreign
    [
        -95.1,  // falls
        105.7,  // rises
        0.0,    // held
        14.6,   // unclear
        -1.7,   // away
        -85.8,  // fade
        0.0,    // glide
        -89.1,  // stretch
        -192.1, // spoken
        115.2,  // pauses
        -191.7, // gap
        60.0,   // habit
        0.0,    // fluent
        47.1,   // clear
        49.8,   // sure
        71.8,   // unsettled
        51.3,   // changed
        -182.9, // rate
        -72.8,  // one
        -87.6,  // yes_no
        -25.1,  // digits
        -359.1, // some_digits
        -42.8,  // missing
        1063.9, // lacking
    ],
];

/// What each group says at an average end: ending, habit, doubt, question.
pub(super) const AVERAGE: [[f32; 4]; 6] = [
    [-378.8, -626.8, -199.9, 0.0], // unknown
    [-58.6, -260.0, 182.4, 56.0],  // incomplete
    [-195.6, -73.7, 111.6, 93.5],  // complete
    [-187.5, -133.1, 88.1, -2.6],  // settled
    [-127.7, -73.5, -54.8, -25.0], // whole
    [-80.6, -172.7, 52.4, -38.4],  // foreign
];
