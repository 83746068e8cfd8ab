//! How much each witness weighs, in milliseconds of silence, by what the words are: written by `scripts/fit-turns`.
//!
//! In this order: unknown, incomplete, complete, settled, whole, foreign.

/// The weights, in the order of `Case::witnesses`.
pub(super) const WEIGHTS: [[f32; 34]; 6] = [
    // unknown
    [
        -155.8, // falls
        -84.4,  // rises
        -0.0,   // held
        -443.2, // unclear
        239.4,  // away
        48.0,   // fade
        -86.7,  // glide
        -168.3, // stretch
        98.3,   // above
        -130.5, // softer
        -233.6, // last
        -266.4, // rough
        -12.6,  // lengthened
        -112.1, // spoken
        -388.2, // pauses
        -327.9, // gap
        60.0,   // habit
        0.0,    // fluent
        257.6,  // pace
        -294.9, // syllables
        67.8,   // syllables_stretch
        -342.3, // clear
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
        0.0,    // known
        0.0,    // unspoken
    ],
    // incomplete
    [
        -130.4, // falls
        70.1,   // rises
        0.0,    // held
        106.2,  // unclear
        44.6,   // away
        -119.9, // fade
        0.0,    // glide
        -275.0, // stretch
        0.0,    // above
        0.0,    // softer
        0.0,    // last
        0.0,    // rough
        0.0,    // lengthened
        -48.5,  // spoken
        -78.6,  // pauses
        -142.6, // gap
        60.0,   // habit
        0.0,    // fluent
        0.0,    // pace
        0.0,    // syllables
        0.0,    // syllables_stretch
        60.1,   // clear
        460.7,  // sure
        29.8,   // unsettled
        -13.3,  // changed
        141.0,  // rate
        0.2,    // one
        39.5,   // yes_no
        359.3,  // digits
        -200.4, // some_digits
        -101.6, // missing
        910.4,  // lacking
        -83.7,  // known
        626.3,  // unspoken
    ],
    // complete
    [
        -105.1, // falls
        85.0,   // rises
        0.0,    // held
        31.2,   // unclear
        100.6,  // away
        -82.5,  // fade
        0.0,    // glide
        -255.4, // stretch
        0.0,    // above
        0.0,    // softer
        0.0,    // last
        0.0,    // rough
        0.0,    // lengthened
        19.6,   // spoken
        -26.2,  // pauses
        -127.7, // gap
        60.0,   // habit
        0.0,    // fluent
        0.0,    // pace
        0.0,    // syllables
        0.0,    // syllables_stretch
        -147.1, // clear
        121.0,  // sure
        124.8,  // unsettled
        41.4,   // changed
        8.7,    // rate
        -69.9,  // one
        22.0,   // yes_no
        202.2,  // digits
        -204.7, // some_digits
        -151.9, // missing
        829.6,  // lacking
        -237.9, // known
        573.7,  // unspoken
    ],
    // settled
    [
        -112.3, // falls
        128.6,  // rises
        0.0,    // held
        36.8,   // unclear
        93.0,   // away
        -129.5, // fade
        0.0,    // glide
        -220.5, // stretch
        0.0,    // above
        0.0,    // softer
        0.0,    // last
        0.0,    // rough
        0.0,    // lengthened
        -18.9,  // spoken
        -45.0,  // pauses
        -174.5, // gap
        60.0,   // habit
        0.0,    // fluent
        0.0,    // pace
        0.0,    // syllables
        0.0,    // syllables_stretch
        -65.7,  // clear
        26.5,   // sure
        61.6,   // unsettled
        -9.5,   // changed
        22.4,   // rate
        -42.2,  // one
        145.2,  // yes_no
        202.2,  // digits
        -204.9, // some_digits
        -151.6, // missing
        853.8,  // lacking
        -124.9, // known
        639.5,  // unspoken
    ],
    // whole
    [
        -129.2, // falls
        69.7,   // rises
        0.0,    // held
        45.4,   // unclear
        -19.7,  // away
        32.8,   // fade
        0.0,    // glide
        -272.2, // stretch
        0.0,    // above
        0.0,    // softer
        0.0,    // last
        0.0,    // rough
        0.0,    // lengthened
        81.9,   // spoken
        -32.8,  // pauses
        -4.4,   // gap
        60.0,   // habit
        0.0,    // fluent
        0.0,    // pace
        0.0,    // syllables
        0.0,    // syllables_stretch
        -291.8, // clear
        -106.7, // sure
        183.2,  // unsettled
        115.0,  // changed
        -74.9,  // rate
        -190.9, // one
        -78.3,  // yes_no
        197.0,  // digits
        -261.9, // some_digits
        -151.6, // missing
        892.7,  // lacking
        -145.0, // known
        705.6,  // unspoken
    ],
    // foreign
    [
        -61.6,  // falls
        84.9,   // rises
        0.0,    // held
        21.0,   // unclear
        17.6,   // away
        -34.5,  // fade
        0.0,    // glide
        -189.8, // stretch
        0.0,    // above
        0.0,    // softer
        0.0,    // last
        0.0,    // rough
        0.0,    // lengthened
        19.2,   // spoken
        -79.9,  // pauses
        -169.6, // gap
        60.0,   // habit
        0.0,    // fluent
        0.0,    // pace
        0.0,    // syllables
        0.0,    // syllables_stretch
        -41.5,  // clear
        115.7,  // sure
        92.3,   // unsettled
        60.5,   // changed
        22.4,   // rate
        -69.9,  // one
        23.9,   // yes_no
        159.9,  // digits
        -203.9, // some_digits
        -192.9, // missing
        992.7,  // lacking
        -101.1, // known
        691.0,  // unspoken
    ],
];

/// What each group says at an average end: ending, habit, doubt, question.
pub(super) const AVERAGE: [[f32; 4]; 6] = [
    [-444.5, -688.5, -250.8, 0.0], // unknown
    [-253.0, -53.8, 110.4, 37.3],  // incomplete
    [-270.1, 26.8, 31.3, 80.0],    // complete
    [-244.3, -20.4, -13.3, 35.9],  // settled
    [-155.5, 116.3, -255.0, 73.8], // whole
    [-96.1, -34.7, 4.9, -17.0],    // foreign
];
