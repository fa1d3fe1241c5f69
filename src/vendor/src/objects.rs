//! The SNMP objects by which each kind of phone describes itself, as rows.
//!
//! Has only names of objects, no answers. All are scalars. The names are from Avaya's MIBs of the
//! 4600 and 9600. Those that are in no MIB are marked; they are asked for because an object that
//! does not exist costs nothing.

/// The name of an object.
pub type ObjectId = &'static [u32];

/// What an object describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The extension that is logged in.
    Extension,
    /// The model, up to 8 characters on Avaya's phones.
    Model,
    /// The running firmware.
    Firmware,
    /// The MAC address: six octets, or text.
    Mac,
    /// The serial number.
    Serial,
}

/// One kind of phones.
#[derive(Clone, Copy, Debug)]
pub struct ObjectSet {
    /// Its usual name.
    pub name: &'static str,
    /// The names beneath which the phone's own `sysObjectID` lies.
    pub kinds: &'static [ObjectId],
    /// Its objects; if a field has several, the first that holds a value counts.
    pub objects: &'static [(Field, ObjectId)],
}

/// `sysObjectID.0` (RFC 3418): the kind of the phone.
pub const KIND: ObjectId = &[1, 3, 6, 1, 2, 1, 1, 2, 0];

/// An object of Avaya's phones.
macro_rules! avaya {
    ($($part:literal),+) => { &[1, 3, 6, 1, 4, 1, 6889, 2, 69, $($part,)+ 0] };
}

/// The name beneath which a kind of Avaya's phones lies.
macro_rules! kind {
    ($set:literal) => {
        &[&[1, 3, 6, 1, 4, 1, 6889, 1, 69, $set]]
    };
}

/// An object of Yealink's phones.
macro_rules! yealink {
    ($part:literal) => {
        &[1, 3, 6, 1, 2, 1, 37459, 2, 1, $part, 0]
    };
}

use Field::{Extension, Firmware, Mac, Model, Serial};

/// Every known kind. The last part of a kind, one for each model, is in no MIB; the model is read
/// instead.
pub static OBJECT_SETS: &[ObjectSet] = &[
    ObjectSet {
        name: "4600",
        kinds: kind!(1),
        objects: &[
            (Extension, avaya!(1, 4, 9)),
            (Model, avaya!(1, 1, 2)),
            (Firmware, avaya!(1, 3, 2)),
            (Mac, avaya!(1, 1, 9)),
            (Serial, avaya!(1, 1, 6)),
        ],
    },
    ObjectSet {
        name: "9600 H.323",
        kinds: kind!(2),
        objects: &[
            (Extension, avaya!(2, 6, 3)),
            (Model, avaya!(2, 1, 43)),
            (Firmware, avaya!(2, 1, 4)),
            (Mac, avaya!(2, 1, 42)),
            (Serial, avaya!(2, 1, 46)),
        ],
    },
    ObjectSet {
        name: "1600",
        kinds: kind!(3),
        objects: &[
            (Extension, avaya!(3, 6, 3)),
            (Model, avaya!(3, 1, 43)),
            // The layout is that of the 9600; others have read the firmware at 58.
            (Firmware, avaya!(3, 1, 4)),
            (Firmware, avaya!(3, 1, 58)),
            (Mac, avaya!(3, 1, 42)),
            (Serial, avaya!(3, 1, 46)),
        ],
    },
    ObjectSet {
        name: "96x1 H.323",
        kinds: kind!(5),
        objects: &[
            // All but the serial number by the layout of the 9600.
            (Extension, avaya!(5, 6, 3)),
            (Model, avaya!(5, 1, 43)),
            (Firmware, avaya!(5, 1, 4)),
            (Mac, avaya!(5, 1, 42)),
            (Serial, avaya!(5, 1, 79)),
        ],
    },
    ObjectSet {
        name: "96x1 SIP or J100",
        kinds: kind!(6),
        objects: &[
            // The account, else the user who logged in.
            (Extension, avaya!(6, 7, 26)),
            (Extension, avaya!(6, 7, 27)),
            (Model, avaya!(6, 1, 52)),
            (Firmware, avaya!(6, 1, 4)),
            (Serial, avaya!(6, 1, 57)),
        ],
    },
    ObjectSet {
        name: "Yealink",
        kinds: &[],
        objects: &[(Firmware, yealink!(5)), (Model, yealink!(7)), (Mac, yealink!(8))],
    },
];

/// Returns every object of any kind of phone, with its index in [`OBJECT_SETS`], in the order of
/// the rows.
pub fn objects() -> impl Iterator<Item = (usize, Field, ObjectId)> {
    let of = |(place, set): (usize, &'static ObjectSet)| {
        set.objects.iter().map(move |(field, object)| (place, *field, *object))
    };
    OBJECT_SETS.iter().enumerate().flat_map(of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::snmp::{Community, Version, write_get};

    #[test]
    fn no_object_and_no_kind_is_said_twice() {
        let all: Vec<ObjectId> = objects().map(|(_, _, object)| object).collect();
        for (place, object) in all.iter().enumerate() {
            assert!(!all[..place].contains(object), "{object:?}");
        }
        let kinds: Vec<&ObjectId> = OBJECT_SETS.iter().flat_map(|set| set.kinds).collect();
        assert!(kinds.iter().all(|kind| kinds.iter().filter(|k| k.starts_with(kind)).count() == 1));
    }

    #[test]
    fn every_avaya_set_tells_its_extension_and_model_beneath_its_own_number() {
        for set in OBJECT_SETS.iter().filter(|set| !set.kinds.is_empty()) {
            for field in [Extension, Model, Firmware, Serial] {
                assert!(set.objects.iter().any(|(of, _)| *of == field), "{} {field:?}", set.name);
            }
            let number = set.kinds[0].last();
            assert!(set.objects.iter().all(|(_, object)| object.get(9) == number), "{}", set.name);
        }
    }

    #[test]
    fn one_question_for_all_objects_fits_any_datagram_that_is_not_cut() {
        let all: Vec<&[u32]> =
            std::iter::once(KIND).chain(objects().map(|(_, _, object)| object)).collect();
        let mut out = Vec::new();
        let longest = Community::new(&"c".repeat(64)).unwrap();
        write_get(Version::V2c, &longest, i32::MAX, &all, &mut out).unwrap();
        // The least that IPv6 carries in one piece, with room for the values in the response.
        assert!(out.len() + 300 <= 1_280 - 48, "{}", out.len());
    }
}
