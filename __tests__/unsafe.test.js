// The check of the reasons of unsafe code finds what lacks one.

const { inspect, tagsDefinedIn } = require('../scripts/unsafe.js');

const tags = new Set(tagsDefinedIn('//! - **T1 name**: why it holds.'));

const faultsOf = (source) => inspect('src/some.rs', tags, source).faults;

test.each([
  ['an invariant', '// SAFETY: T1.\nunsafe { call() };'],
  ['a reason in words', '// SAFETY: the call takes no pointer.\nunsafe { call() };'],
  ['an implementation with a reason', '// SAFETY: T1.\nunsafe impl Send for Some {}'],
  ['what is no code', '// unsafe { call() }\nlet text = "unsafe { call() }";'],
])('takes %s', (_name, source) => {
  expect(faultsOf(source)).toEqual([]);
});

test.each([
  ['a block without a note', 'unsafe { call() };', /:1: block without a note/],
  ['an invariant that is defined nowhere', '// SAFETY: T2.\nunsafe { call() };', /T2 is defined/],
  ['no reason', '// SAFETY: as above.\nunsafe { call() };', /gives no reason/],
  ['a note that stands elsewhere', '// SAFETY: T1.\n\nunsafe { call() };', /without a note/],
  ['an implementation without one', 'unsafe impl Send for Some {}', /impl without a note/],
  ['a function without one', '/// Does it.\nunsafe fn call() {}', /function without a note/],
])('finds %s', (_name, source, expected) => {
  expect(faultsOf(source)).toEqual([expect.stringMatching(expected)]);
});
