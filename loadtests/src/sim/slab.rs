//! Things that come and go, by number: a number of one that has gone finds nothing.

/// The things.
#[derive(Debug)]
pub struct Slab<T> {
    places: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

/// A thing's number, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    place: u32,
    turn: u32,
}

impl<T> Slab<T> {
    /// With nothing in it.
    pub fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    /// Takes a thing in.
    pub fn add(&mut self, thing: T) -> Id {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            (self.places.len() - 1) as u32
        });
        let at = &mut self.places[place as usize];
        at.1 = Some(thing);
        Id { place, turn: at.0 }
    }

    /// Gives a thing away.
    pub fn remove(&mut self, id: Id) -> Option<T> {
        let at = self.places.get_mut(id.place as usize).filter(|at| at.0 == id.turn)?;
        let thing = at.1.take()?;
        at.0 = at.0.wrapping_add(1);
        self.free.push(id.place);
        Some(thing)
    }

    /// A thing, while it is there.
    pub fn get(&self, id: Id) -> Option<&T> {
        self.places.get(id.place as usize).filter(|at| at.0 == id.turn)?.1.as_ref()
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        self.places.get_mut(id.place as usize).filter(|at| at.0 == id.turn)?.1.as_mut()
    }

    /// All that are there.
    pub fn iter(&self) -> impl Iterator<Item = (Id, &T)> {
        let all = self.places.iter().enumerate();
        all.filter_map(|(place, (turn, thing))| Some((Id { place: place as u32, turn: *turn }, thing.as_ref()?)))
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_never_used_again() {
        let mut slab = Slab::new();
        let (a, b) = (slab.add('a'), slab.add('b'));
        assert_eq!((slab.remove(a), slab.remove(a)), (Some('a'), None));
        let c = slab.add('c');
        assert_eq!((slab.get(a), slab.get(b), slab.get(c)), (None, Some(&'b'), Some(&'c')));
        assert_eq!(slab.iter().map(|(_, thing)| *thing).collect::<String>(), "cb");
    }
}
